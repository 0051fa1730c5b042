"""How every command ends: the exit code, the sentence, and JSON that is JSON whatever happened."""

import errno
import json
import subprocess
import sys

import numpy as np
import pytest

from vtp_export import cli, terminal
from vtp_export.errors import ArtefactError
from vtp_export.extras import install
from vtp_export.parity.verdict import ValidationReport
from vtp_export.pipeline import demo, inspect
from vtp_export.reports.demo import DemoReport


@pytest.fixture
def failing(monkeypatch):
    """Make `inspect` end with an error."""

    def fail(error):
        def inspect_(folder):
            raise error

        monkeypatch.setattr(inspect, "inspect", inspect_)

    return fail


def strict(text):
    """Parse JSON as the standard has it: no NaN, no Infinity."""

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


def test_a_mistake_is_a_sentence_and_json(vtp, failing):
    failing(ArtefactError("no artefact there"))
    assert vtp("inspect", "a") == (2, "", "error: no artefact there\n")
    code, out, err = vtp("inspect", "a", "--json")
    assert (code, err) == (2, "error: no artefact there\n")
    expected = {"kind": "ArtefactError", "message": "no artefact there", "exit_code": 2}
    assert strict(out) == {"schema": 1, "error": expected}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("inspekt",), "did you mean 'inspect'"),
        (("inspect",), "missing argument"),
        (("inspect", "a", "b"), "unexpected"),
        (("inspect", "a", "--jsn"), "no such option"),
        (("export", "toy", "--out", "a", "--precision", "fp8"), "'fp32', 'fp16', 'bf16', 'int8'"),
        (("export", "toy", "--out", "a", "--activations", "statc"), "did you mean 'static'"),
        (("run", "a", "b", "--format", "onx"), "did you mean 'onnx'"),
        (("export", "toy", "--out", "a", "--golden", "1e3"), "'1e3'"),
        (("export", "toy", "--out", "a", "--golden=-1"), "-1"),
        (
            ("export", "toy", "--out", "a", "--keep", "six"),
            "'six'; it must be a number of visual tokens, or a share",
        ),
    ],
)
def test_what_cannot_be_parsed(vtp, arguments, words):
    for json_ in ((), ("--json",)):
        code, out, err = vtp(*arguments, *json_)
        assert code == 2
        assert err.count("\n") == 1
        assert err.startswith("error: ")
        assert words.lower() in err.lower()
        if json_:
            assert strict(out)["error"]["message"] == err.removeprefix("error: ").strip()
        else:
            assert out == ""


def test_what_the_system_refuses_is_a_sentence(vtp, failing):
    failing(OSError(errno.ENOSPC, "No space left on device", "/x/model.onnx"))
    assert vtp("inspect", "a") == (2, "", "error: No space left on device: '/x/model.onnx'\n")


def test_a_missing_library_of_the_extra_says_what_to_install(vtp, failing):
    failing(ModuleNotFoundError("No module named 'torch'", name="torch"))
    assert vtp("inspect", "a")[2] == f"error: this command needs torch: {install('export')}\n"


def test_our_own_mistake_asks_for_a_report(vtp, failing, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    failing(ZeroDivisionError("by zero"))
    code, out, err = vtp("inspect", "a", "--json")
    (file,) = tmp_path.iterdir()
    sentence = f"vtp-export itself failed with ZeroDivisionError: by zero; please report it, with {file}"
    assert (code, err) == (70, f"error: {sentence}\n")
    assert strict(out)["error"] == {"kind": "ZeroDivisionError", "message": sentence, "exit_code": 70}
    text = file.read_text()
    assert "vtp-export inspect a --json" in text
    assert "Traceback" in text and "test_exit_codes.py" in text


def test_the_traceback_is_shown_where_it_is_asked_for(vtp, failing, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    failing(ZeroDivisionError("by zero"))
    code, _, err = vtp("inspect", "a", "-v")
    assert code == 70
    assert "Traceback" in err
    assert list(tmp_path.iterdir()) == []
    failing(ArtefactError("no artefact there"))
    code, _, err = vtp("inspect", "a", "--verbose")
    assert code == 2
    assert "Traceback" in err and err.endswith("error: no artefact there\n")


def test_interrupted(vtp, failing):
    failing(KeyboardInterrupt())
    assert vtp("inspect", "a") == (130, "", "interrupted; nothing was left half written\n")
    assert strict(vtp("inspect", "a", "--json")[1])["error"]["exit_code"] == 130


@pytest.mark.parametrize("words", [["list", "pruners"], ["--help"], ["export", "--help"], ["--version"]])
def test_a_reader_that_goes_away(words):
    """Standard output is a pipe that nobody reads any more."""
    code = (
        "import os, sys; reading, writing = os.pipe(); os.close(reading); os.dup2(writing, 1);"
        f"sys.argv = ['vtp-export', *{words!r}]; from vtp_export.cli import main; main()"
    )
    result = subprocess.run([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
    assert (result.returncode, result.stderr) == (141, "")


def test_a_failed_check_is_1_and_its_json_is_complete(vtp, monkeypatch):
    class Failed(ValidationReport):
        passed = False

        def as_dict(self):
            return {"passed": False, "cosine": float("nan"), "error": np.float64("inf"), "erank": None}

    failed = Failed(artefact="a", benchmark="b", comparisons=())
    report = DemoReport(artefact=None, validation=failed, page="page", picture=None, next_command="")
    monkeypatch.setattr(demo, "demo", lambda out, **options: report)
    code, out, _ = vtp("demo", "--json")
    told = strict(out)
    assert code == 1
    assert (told["schema"], told["command"]) == (1, "demo")
    assert (told["cosine"], told["error"], told["erank"]) == ("nan", "inf", None)


def test_json_refuses_what_it_has_nothing_for():
    with pytest.raises(TypeError, match="a set"):
        terminal.plain({"kept": {1, 2}})


def test_every_command_has_the_common_options(vtp):
    names = [function.__name__.removesuffix("_") for functions in cli.COMMANDS.values() for function in functions]
    assert names[0] == "demo" and len(set(names)) == len(names)
    for name in names:
        code, out, _ = vtp(name, "--help")
        assert code == 0
        for option in ("--json", "--quiet", "--verbose"):
            assert option in out, (name, option)


def test_the_help_of_every_command_has_an_example(vtp):
    names = [function.__name__.removesuffix("_") for functions in cli.COMMANDS.values() for function in functions]
    for name in names:
        text = vtp(name, "--help")[1].partition("─ ")[0]
        assert f"vtp-export {name} " in text.partition("Example")[2], name


def test_paragraphs_of_the_help_are_broken_by_the_terminal_alone(vtp):
    text = vtp("check", "--help")[1].partition("Examples:")[0]
    lines = [line.strip() for line in text.splitlines()]
    start = next(i for i, line in enumerate(lines) if line.startswith("The pictures of"))
    paragraph = lines[start : lines.index("", start)]
    assert len(paragraph) > 2 and min(map(len, paragraph[:-1])) > 60, paragraph


def test_a_misspelt_command_is_one_clean_sentence(vtp):
    assert vtp("exprot")[2].startswith("error: No such command 'exprot' (did you mean 'export'?); see: ")


def test_help_stands_in_the_order_of_the_list(vtp):
    out = vtp("--help")[1]
    names = [function.__name__.removesuffix("_") for functions in cli.COMMANDS.values() for function in functions]
    places = [out.index(f"│ {name} ") for name in names]
    assert places == sorted(places)
    assert all(f"─ {panel} ─" in out for panel in cli.COMMANDS)


def test_quiet_is_quiet(vtp, monkeypatch):

    def run(folder, images, *, progress, **options):
        progress("running")
        progress.note("it ran")
        return RunReport(folder=folder, format="onnx", device="cpu", checked="passed", proven=True, images=())

    from vtp_export.pipeline import run as module
    from vtp_export.reports.results import RunReport

    monkeypatch.setattr(module, "run", run)
    assert vtp("run", "a", "b", "--quiet")[2] == ""
    assert vtp("run", "a", "b")[2].endswith("running\nnote: it ran\n")


def test_a_module_runs_too():
    result = subprocess.run([sys.executable, "-m", "vtp_export", "--version"], capture_output=True, text=True)
    assert result.stdout.startswith("vtp-export 0.")
