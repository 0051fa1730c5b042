"""`bench --check`: one table of proof, speed and size of every format on this machine."""

import dataclasses
import json
import shutil
import sys

import numpy as np
import pytest

from tests.torchless import without_torch
from vtp_export import rooms
from vtp_export.backends import torchscript
from vtp_export.benchmarks.base import Decoded
from vtp_export.cli import main
from vtp_export.comparing.spoken import same_answers
from vtp_export.errors import ArtefactError, ModelError, OutputError, SpecError, UnavailableError, VtpWarning
from vtp_export.pipeline.bench import bench
from vtp_export.pipeline.build import build
from vtp_export.pipeline.export import export
from vtp_export.reports.bench import COLUMNS, SameAnswers, bench_summary
from vtp_export.runtime.front_end import PrunedArtefact
from vtp_export.runtime.front_end import load as open_artefact_in
from vtp_export.runtime.output import Output


def rows_of(report):
    """The table, by the name of the format and column."""
    table = bench_summary(report)[0]
    assert table.columns == COLUMNS
    return {cells[0]: dict(zip(COLUMNS, cells, strict=True)) for cells in table.cells()}


def wrong_in(monkeypatch, fmt):
    """One format keeps another token in every picture."""
    true = PrunedArtefact.run

    def run(self, pixels):
        arrays = {name: array.copy() for name, array in true(self, pixels).arrays().items()}
        if self.format == fmt:
            last = arrays["kept"][:, -1]
            arrays["kept"][:, -1] = np.where(last == 35, 34, 35)
        return Output.of(arrays)

    monkeypatch.setattr(PrunedArtefact, "run", run)


def told(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["vtp-export", *map(str, arguments)])
    with pytest.raises(SystemExit) as left:
        main()
    return left.value.code or 0, *capsys.readouterr()


def test_every_format_is_a_row(artefact, tmp_path):
    folder = shutil.copytree(artefact, tmp_path / "a")
    build(folder, format="openvino")
    report = bench([folder], rounds=2, check=True, batches=[1, 3])
    assert report.passed and report.baseline == f"{folder} onnx"
    names = [f"{folder} {fmt}" for fmt in ("onnx", "openvino", "torchscript")]
    assert [(one.name, one.batch) for one in report.timings] == [(name, size) for size in (1, 3) for name in names]
    by_batch = {(one.name, one.batch): one for one in report.timings}
    for timing in report.timings:
        base = by_batch[names[0], timing.batch].median_ms
        assert timing.ratio == pytest.approx(timing.median_ms / base) and timing.checked == "passed"
    rows = rows_of(report)
    for name, file in zip(names, ("model.onnx", "model.xml", "model.ts"), strict=True):
        assert rows[name]["same tokens"] == "8 of 8" and rows[name]["unexplained"] == "0"
        assert float(rows[name]["largest error"]) < 1e-5 and rows[name]["verdict"] == "passed"
        assert float(rows[name]["files MB"]) >= (folder / file).stat().st_size / 1e6 - 0.05
        assert float(rows[name]["install MB"]) > 20
    assert rows[names[0]]["ratio to onnx"] == "1.00"


def test_a_format_that_keeps_other_tokens_is_shown_as_failed(artefact, monkeypatch, capsys):
    wrong_in(monkeypatch, "torchscript")
    code, out, _ = told(monkeypatch, capsys, "bench", artefact, "--check", "--rounds", 1, "--json")
    result = json.loads(out)
    assert (code, result["passed"]) == (1, False)
    assert [one["check"]["passed"] for one in result["formats"]] == [True, False]
    code, out, _ = told(monkeypatch, capsys, "bench", artefact, "--check", "--rounds", 1)
    assert code == 1
    lines = [line.split() for line in out.splitlines()]
    assert [(words[3:8], words[-1]) for words in lines if words[:2] == [str(artefact), "torchscript"]] == [
        (["0", "of", "8", "0", "8"], "FAILED")
    ]
    assert [words[-1] for words in lines if words[:2] == [str(artefact), "onnx"]] == ["passed"]
    assert f"failed: {artefact} torchscript: torchscript against the graph at the export" in out


def test_what_cannot_run_here_is_a_row_with_the_reason(artefact, monkeypatch):
    monkeypatch.setattr(torchscript.Backend, "missing", lambda self: "no torch today")
    report = bench([artefact], rounds=1, check=True)
    assert report.passed and [one.name for one in report.timings] == [f"{artefact} onnx"]
    row = rows_of(report)[f"{artefact} torchscript"]
    assert row["verdict"] == "not here: no torch today" and row["same tokens"] == row["ms"] == "-"
    assert float(row["files MB"]) > 0
    with pytest.raises(UnavailableError, match="no torch today"):
        bench([artefact], formats=["torchscript"], rounds=1, check=True)
    with pytest.warns(VtpWarning, match="torchscript is left out: no torch today"):
        assert bench([artefact], rounds=1).formats == ()


def test_what_turns_out_not_to_run_here_is_a_row_too(artefact, monkeypatch):
    def refused(*_):
        raise UnavailableError("less than float32")

    monkeypatch.setattr(torchscript.Backend, "open", refused)
    report = bench([artefact], rounds=1, check=True)
    assert rows_of(report)[f"{artefact} torchscript"]["verdict"] == "not here: less than float32"
    with pytest.raises(UnavailableError, match="less than float32"):
        bench([artefact], formats=["torchscript"], rounds=1, check=True)


def test_nothing_that_runs_is_an_error(artefact, monkeypatch):
    for fmt in ("onnx", "torchscript"):
        monkeypatch.setattr(rooms.load("backends", fmt).Backend, "missing", lambda self: "not today")
    with pytest.raises(UnavailableError, match="not today; not today"):
        bench([artefact], rounds=1, check=True)


def test_without_onnx_nothing_is_compared_and_that_is_said(artefact):
    report = bench([artefact], formats=["torchscript"], rounds=1, check=True)
    assert report.baseline is None and [one.ratio for one in report.timings] == [None]
    assert "onnx did not run here" in bench_summary(report)[-1]
    assert bench([artefact], formats=["torchscript"], rounds=1).timings[0].ratio == 1


def test_beside_other_artefacts_and_the_eager_model(artefact, other_artefact, small_llava):
    report = bench([other_artefact, artefact], formats=["onnx"], rounds=1, check=True, against=small_llava)
    assert report.baseline == f"{other_artefact} onnx"
    eager = rows_of(report)[f"{small_llava} eager, unpruned"]
    assert eager["same tokens"] == eager["verdict"] == "-" and float(eager["ms"]) > 0
    assert len(report.timings) == 3 and all(one.ratio for one in report.timings)


def test_without_a_golden_record_it_cannot_be_asked(tmp_path):
    export("toy", tmp_path / "a", keep=4, formats=["torchscript"], golden=0)
    with pytest.raises(ArtefactError, match="golden record"):
        bench([tmp_path / "a"], rounds=1, check=True)
    assert bench([tmp_path / "a"], rounds=1).passed


def test_no_torch_is_needed(artefact):
    assert without_torch("bench", artefact, "--check", "--format", "onnx", "--rounds", 1)["passed"] is True


def test_a_format_of_a_later_version_is_a_row(artefact, monkeypatch):
    true = rooms.names
    monkeypatch.setattr(rooms, "names", lambda room: [name for name in true(room) if name != "torchscript"])
    row = rows_of(bench([artefact], rounds=1, check=True))[f"{artefact} torchscript"]
    assert row["verdict"] == "not here: no backend named 'torchscript'" and row["install MB"] == "-"


@pytest.mark.parametrize("fmt", rooms.names("backends"))
def test_every_format_says_which_packages_run_it(fmt):
    """Their versions decide what a check is worth, and their size what the table shows."""
    assert rooms.load("backends", fmt).Backend.packages


class Speaks:
    """A language model that says the sum of the tokens."""

    def answer(self, picture, prompts, longest):
        told = round(float(picture.tokens.sum()), 2)
        return [Decoded((hash((told, prompt)),), str(told), ()) for prompt in prompts]


def test_answers_from_the_tokens_that_are_made_here_are_held_against_those_recorded(artefact, monkeypatch):
    monkeypatch.setattr("vtp_export.pipeline.bench.opened_answerer", lambda folder, threads: Speaks())
    report = bench([artefact], formats=["onnx"], rounds=1, check=True, decoder="a decoder")
    assert report.passed and rows_of(report)[f"{artefact} onnx"]["same answers"] == "32 of 32"
    plain = PrunedArtefact.run

    def louder(self, pixels):
        output = plain(self, pixels)
        arrays = {name: array.copy() for name, array in output.arrays().items()}
        arrays["tokens"][:, 0] += 1
        return Output.of(arrays)

    with open_artefact_in(artefact, "onnx") as session:
        monkeypatch.setattr(PrunedArtefact, "run", louder)
        said = same_answers(session, Speaks())
    assert (said.same, said.asked) == (0, 32)
    assert said.failures == (
        "0 of 32 answers are those from the tokens that were recorded at the export; 32 have to be",
    )


def test_a_wrong_answer_fails_the_format(artefact):
    report = bench([artefact], formats=["onnx"], rounds=1, check=True)
    (one,) = report.formats
    wrong = dataclasses.replace(report, formats=(dataclasses.replace(one, answers=SameAnswers(31, 32, 1.0)),))
    assert not wrong.passed and "31 of 32 answers" in wrong.failures[0]
    assert SameAnswers(31, 32, 0.97).failures == () and SameAnswers(30, 32, 0.97).failures
    assert rows_of(wrong)[f"{artefact} onnx"]["verdict"] == "FAILED"
    assert json.loads(json.dumps(wrong.as_dict()))["formats"][0]["answers"] == {"same": 31, "asked": 32, "limit": 1.0}


def test_a_picture_that_gives_nothing_finite_costs_its_answers_and_not_the_table(artefact, monkeypatch):
    plain, calls = PrunedArtefact.run_padded, []

    def fails(self, pixels):
        calls.append(len(pixels))
        if len(calls) == 3:
            raise OutputError("tokens", [0])
        return plain(self, pixels)

    with open_artefact_in(artefact, "onnx") as session:
        monkeypatch.setattr(PrunedArtefact, "run_padded", fails)
        said = same_answers(session, Speaks())
    assert (said.same, said.asked, len(calls)) == (28, 32, 8)


def test_a_decoder_is_asked_where_formats_are_checked(artefact, tmp_path):
    with pytest.raises(SpecError, match="add --check, or leave out --decoder"):
        bench([artefact], rounds=1, decoder=tmp_path)
    with pytest.raises(ModelError, match=r"has no words\.json"):
        bench([artefact], rounds=1, check=True, decoder=tmp_path)
