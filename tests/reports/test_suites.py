"""What build servers read: JUnit's XML, in which a gate is a test case, and Markdown."""

import dataclasses
import json
import shutil
import xml.etree.ElementTree as ET

import pytest

from tests.reports.test_pages import COMPARED, comparison
from vtp_export.errors import SpecError
from vtp_export.parity.judged import Gate
from vtp_export.parity.verdict import ValidationReport
from vtp_export.reports.comparison import comparison_suite
from vtp_export.reports.suites import Suite, refuse_strange_file, suite_of, write_junit, write_markdown

FAILED = ValidationReport(
    artefact="a", benchmark="photos", false_claims=("x is 1, and 2",), comparisons=(comparison(),), notes=("a note",)
)


def cases(path):
    return list(ET.parse(path).getroot().iter("testcase"))


def test_a_gate_is_a_test_case_and_its_failure_the_sentence(tmp_path):
    write_junit(tmp_path / "junit.xml", "validate", [suite_of(FAILED, "a"), suite_of(FAILED, "b").of("2x3")])
    root = ET.parse(tmp_path / "junit.xml").getroot()
    assert root.get("name") == "vtp-export validate"
    assert [one.get("name") for one in root] == ["validate a", "validate b (grid 2x3)"]
    gates = [gate for row in FAILED.rows for gate in row.held_to]
    assert [one.get("name") for one in root[0].iter("testcase")] == [gate.name for gate in gates]
    missed = [gate.failures for gate in gates if not gate.passed]
    assert [one.text.split("\n") for one in root[0].iter("failure")] == [list(failures) for failures in missed]
    assert sum(map(len, missed)) == len(FAILED.failures) > 4
    assert (root.get("tests"), root.get("failures")) == (str(2 * len(gates)), str(2 * len(missed)))
    (claim,) = (one for one in root[0].iter("testcase") if one.get("classname") == "a: manifest")
    assert claim.find("failure").get("message") == "x is 1, and 2"
    assert root[0].find("system-out").text == "note: a note"


def test_what_xml_and_markdown_cannot_hold_is_no_obstacle(tmp_path):
    strange = "a\x1b[1m|<b>\ud800]]>\n# no heading"
    suite = Suite(subject=strange, gates=((strange, Gate(strange, strange, strange, (strange,))),), notes=(strange,))
    write_junit(tmp_path / "junit.xml", "check", [suite])
    (case,) = cases(tmp_path / "junit.xml")
    assert case.get("name").startswith("a?[1m|<b>?]]>")
    write_markdown(tmp_path / "s.md", "check", [dataclasses.replace(suite, subject="a_b|c")])
    lines = (tmp_path / "s.md").read_text(errors="surrogatepass").splitlines()
    assert lines[0] == r"## vtp-export check a\_b\|c: failed"
    assert not [line for line in lines[1:] if line.startswith("#") or "<b>" in line]


def test_a_comparison_of_which_a_share_is_asked(tmp_path):
    nothing, asked = COMPARED, dataclasses.replace(COMPARED, at_least=0.9)
    assert nothing.passed and not asked.passed
    assert asked.failures == ("fastervlm at 8 tokens: keeps 88.9% of the unpruned accuracy, at least 90.0% was asked",)
    for report, failures in ((nothing, 0), (asked, 1)):
        write_junit(tmp_path / "junit.xml", "compare", [comparison_suite(report)])
        assert ET.parse(tmp_path / "junit.xml").getroot().get("failures") == str(failures)
    write_markdown(tmp_path / "s.md", "compare", [comparison_suite(asked)])
    assert "| fastervlm at 8 tokens |" in (tmp_path / "s.md").read_text()


def test_no_file_of_another_kind_is_replaced(tmp_path):
    other = tmp_path / "README.md"
    other.write_text("# A project that uses vtp-export\n")
    with pytest.raises(SpecError, match=r"README.md' is there, and no report of vtp-export"):
        refuse_strange_file(other)
    for name, write in (("j.xml", write_junit), ("s.md", write_markdown)):
        (tmp_path / name).touch()  # as a build server makes it
        refuse_strange_file(tmp_path / name)
        write(tmp_path / name, "check", [Suite(subject="a")])
        refuse_strange_file(tmp_path / name)


def test_check_writes_both_whatever_it_ends_with(vtp, artefact, tmp_path):
    files = tmp_path / "junit.xml", tmp_path / "summary.md"
    wanted = "--junit", files[0], "--markdown", files[1], "--format", "onnx"
    code, printed, _ = vtp("check", artefact, *wanted, "--json")
    assert (code, json.loads(printed)["junit"]) == (0, str(files[0]))
    assert len(cases(files[0])) > 10 and not list(ET.parse(files[0]).getroot().iter("failure"))
    assert "| passed |" in files[1].read_text()
    copy = shutil.copytree(artefact, tmp_path / "copy")
    (copy / "model.onnx").write_bytes(b"torn")
    code, _, err = vtp("check", copy, *wanted)
    (case,) = cases(files[0])
    assert code == 2 and case.find("error").get("message") == err.splitlines()[-1].removeprefix("error: ")
    assert "could not be judged" in files[1].read_text()
    code, _, err = vtp("check", artefact, "--junit", artefact / "manifest.json")
    assert code == 2 and "no report of vtp-export" in err
    assert vtp("check", artefact, "--junit", files[0], "--markdown", files[0])[0] == 2
