"""Comparisons: the same twice, sound in what they count, and drawn."""

import base64
import dataclasses
import errno
from unittest.mock import Mock

import pytest

from vtp_export.errors import ArtefactError, ModelError, SpecError, UnknownNameError, VtpWarning
from vtp_export.graphs.assembly import load_model
from vtp_export.pipeline import compare as room
from vtp_export.pipeline.compare import compare
from vtp_export.reports.comparison import comparison_table, write_comparison
from vtp_export.reports.page import PAGE, page_in

METHODS = ("fastervlm", "adaptive:count=adaptive", "random")
KEEPS = (16, 64)


def compared(model="tiny-llava", keep=KEEPS, **other):
    chosen = {"pruners": ("fastervlm", "adaptive", "random"), "settings": {"count": "adaptive"}, "limit": 24}
    return compare(model, keep, **{**chosen, **other})


@pytest.fixture(scope="module")
def report():
    return compared()


def timeless(report):
    return dataclasses.replace(
        report,
        rows=tuple(dataclasses.replace(r, milliseconds=0, milliseconds_p10=0, milliseconds_p90=0) for r in report.rows),
    )


def test_two_runs_are_the_same():
    once, again = (compared(keep=(16,), limit=6) for _ in range(2))
    assert timeless(once) == timeless(again)


def test_rows(report):
    named = [(row.method, row.keep) for row in report.rows]
    assert named[0] == ("none", 576)
    assert [name for name, _ in named[1:]] == [m for m in METHODS for _ in KEEPS]
    full, best, worst = report.rows[0], report.rows[2], report.rows[5]
    assert full.share == 1.0
    assert full.kept == 576
    assert (best.keep, best.kept, worst.method) == (64, 64, "random")
    assert best.score == best.metrics["accuracy"] == report.rows[2].share * full.score
    # Pruning hurts, and attention knows better than chance where to look.
    assert full.score > 0.9
    assert full.score > best.score > report.rows[6].score > worst.score
    # A few near-duplicates have a low effective rank, all tokens a higher one, never above their number.
    assert all(1 <= row.erank <= row.kept for row in report.rows)


def test_what_is_chance_is_told(report):
    full, worst = report.rows[0], report.rows[5]
    assert (full.margin, full.p_value) == (0, 1)
    assert worst.p_value < 1e-6
    assert full.score - worst.score > worst.margin > 0.01
    assert all(row.milliseconds_p10 <= row.milliseconds <= row.milliseconds_p90 for row in report.rows)
    assert sum(report.bins) == report.images == 24


def test_adaptive_count_varies(report):
    adaptive = report.rows[4]
    assert adaptive.method == "adaptive:count=adaptive"
    assert adaptive.kept != adaptive.keep


def test_bins_are_a_partition_by_complexity(report):
    assert list(report.edges) == sorted(report.edges)
    assert len(report.edges) == 5
    assert all(len(row.by_bin) == 4 for row in report.rows)
    # Accuracy of the whole is an average of the bins, weighted by their questions: it lies among them.
    for row in report.rows:
        assert min(row.by_bin) <= row.score <= max(row.by_bin)
    assert -1 <= report.correlation <= 1


def test_table_and_page(report, tmp_path):
    table = comparison_table(report)
    assert f"24 images, {report.questions} questions, {report.counted} of them in the accuracy" in table.title
    assert report.counted == report.questions - 24  # a caption each
    assert {
        "method",
        "tokens",
        "accuracy",
        "% of full",
        "points lost or won",
        "p",
        "p10 to p90",
        "C_S",
        "erank kept",
        "ms",
    } <= set(table.columns)
    assert all(len(row) == len(table.columns) for row in table.rows)
    core = load_model("tiny-llava").core
    page = write_comparison(report, tmp_path / "out", core).read_text()
    for figure in ("budget.svg", "complexity-16.svg", "complexity-64.svg"):
        drawn = (tmp_path / "out" / figure).read_bytes()
        assert b"<svg" in drawn
        assert base64.b64encode(drawn).decode() in page
    assert core.weights_sha256 in page
    assert "adaptive:count=adaptive" in page


def test_bad_input_is_one_sentence(small_llava):
    with pytest.raises(SpecError, match="no budget"):
        compared(keep=())
    with pytest.raises(SpecError, match="asks no questions"):
        compared(benchmark="photos", limit=2)
    with pytest.raises(UnknownNameError, match="did you mean 'fastervlm'"):
        compared(pruners=("fastervlmm",))
    with pytest.raises(ModelError, match="no language model"):
        compared(small_llava, pruners=("none",), settings={}, limit=1)


def test_another_dtype_is_another_computation_of_nearly_the_same():
    few = {"pruners": ("fastervlm",), "settings": {}, "limit": 2, "keep": 16}
    wide, narrow = (compared(dtype=dtype, **few) for dtype in ("float32", "bfloat16"))
    assert [row.method for row in narrow.rows] == ["none", "fastervlm"]
    for one, other in zip(wide.rows, narrow.rows, strict=True):
        assert other.erank == pytest.approx(one.erank, rel=0.1)
        assert other.erank != one.erank


def test_interrupted_work_is_taken_up_where_it_was(report, tmp_path, monkeypatch):
    """The same report to the last digit; nothing is asked twice."""
    calls = []

    def dying(*arguments):
        calls.append(arguments[1].name)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return look(*arguments)

    look = room._look
    monkeypatch.setattr(room, "_look", dying)
    told = []
    with pytest.raises(KeyboardInterrupt):
        compared(limit=4, report=tmp_path, progress=lambda text, done=0, total=0: told.append(text))
    assert told[-1] == "2 images are done; --resume goes on from there"
    with pytest.raises(ArtefactError, match="add --resume to go on"):
        compared(limit=4, report=tmp_path)
    with pytest.raises(ArtefactError, match="was begun for"):
        compared(limit=4, report=tmp_path, keep=(16, 32), resume=True)
    resumed = compared(limit=4, report=tmp_path, resume=True)
    assert calls[3:] == [*calls[2:3], "scene-0003"]
    assert timeless(resumed) == timeless(compared(limit=4))
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix != ".svg") == ["index.html"]
    with pytest.raises(SpecError, match="--report"):
        compared(resume=True)


def test_a_page_that_cannot_be_written_loses_nothing(report, tmp_path, monkeypatch):
    """The table is there, and what was asked; an earlier page is not taken for this one."""
    (tmp_path / PAGE).write_text("of another day")
    monkeypatch.setattr("vtp_export.reports.comparison.save_figure", Mock(side_effect=OSError(errno.ENOSPC, "full")))
    with pytest.warns(VtpWarning, match=r"the report was not written: cannot write.*full.*; --resume writes it"):
        first = compared(limit=4, report=tmp_path)
    assert page_in(tmp_path) is None
    monkeypatch.undo()
    monkeypatch.setattr(room, "_look", None)  # nothing is asked again
    assert timeless(compared(limit=4, report=tmp_path, resume=True)) == timeless(first)
    assert page_in(tmp_path) is not None and not list(tmp_path.glob(".*"))


def test_a_mistake_is_told_before_anything_is_loaded(monkeypatch):
    monkeypatch.setattr(room, "load_model", lambda *arguments: pytest.fail("loaded"))
    monkeypatch.setattr(room, "benchmark_of", lambda name: pytest.fail("read"))
    with pytest.raises(SpecError, match="did you mean 'count'"):
        compared(settings={"cuont": "adaptive"})
    with pytest.raises(SpecError, match="count is 'many'"):
        compared(settings={"count": "many"})
