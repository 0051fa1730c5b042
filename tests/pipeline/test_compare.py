"""Comparisons: the same twice, sound in what they count, and drawn."""

import base64
import dataclasses
import errno
import json
import re
from unittest.mock import Mock

import pytest
from PIL import Image

from vtp_export.comparing import looking
from vtp_export.errors import ArtefactError, ModelError, SpecError, UnknownNameError, VtpWarning
from vtp_export.graphs.assembly import load_model
from vtp_export.pipeline import compare as room
from vtp_export.pipeline.compare import compare
from vtp_export.reports.comparison import benchmark_sentences, comparison_table, write_comparison
from vtp_export.reports.page import PAGE, page_in

METHODS = ("fastervlm", "adaptive:count=adaptive", "random")
KEEPS = (16, 64)


def compared(model="tiny-llava", keep=KEEPS, **other):
    chosen = {"pruners": ("fastervlm", "adaptive", "random"), "settings": {"count": "adaptive"}, "limit": 24}
    return compare(model, keep, **{**chosen, **other})


@pytest.fixture(scope="module")
def whole():
    return compared()


@pytest.fixture
def report(whole):
    (one,) = whole.benchmarks
    return one


def timeless(report):
    none = {"front_end_ms": 0, "prefill_ms": 0, "first_token_ms": 0, "peak_bytes": 0}
    return dataclasses.replace(report, costs=tuple(dataclasses.replace(one, **none) for one in report.costs))


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
    assert (full.interval, full.p_value, full.p_permuted) == ((0, 0), 1, 1)
    assert worst.p_value < 1e-6 and worst.p_permuted < 1e-3
    low, high = worst.interval
    assert low < worst.score - full.score < high < -0.01
    assert sum(report.bins) == report.images == 24


def test_every_method_has_its_cost(whole, report):
    assert [one.method for one in whole.costs] == ["none", *(f"{row.method} {row.keep}" for row in report.rows[1:])]
    full, few = whole.costs[:2]
    assert few.tokens - full.tokens == KEEPS[0] - 576 and few.prefill_flops < full.prefill_flops


def test_a_language_model_of_unknown_sizes_has_none(monkeypatch):
    def refuse(config):
        raise SpecError("the language model's config has no intermediate_size")

    monkeypatch.setattr("vtp_export.integrations.transformers.shape_of", refuse)
    with pytest.warns(VtpWarning, match="no costs are told: the language model's config has no intermediate_size"):
        assert compared(keep=(16,), limit=2).costs == ()


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


def test_table_and_page(whole, report, tmp_path):
    table = comparison_table("tiny-llava", report)
    assert f"24 images, {report.questions} questions, {report.counted} of them in the accuracy" in table.title
    assert report.counted == report.questions - 24  # a caption each
    named = {"method", "tokens", "accuracy", "% of full", "points lost or won", "p", "p of single answers", "C_S"}
    assert named | {"erank kept"} <= set(table.columns)
    assert all(len(row) == len(table.columns) for row in table.rows)
    core = load_model("tiny-llava").core
    page = write_comparison(whole, [[]], tmp_path / "out", core).read_text()
    for figure in ("budget.svg", "complexity-16.svg", "complexity-64.svg"):
        drawn = (tmp_path / "out" / figure).read_bytes()
        assert b"<svg" in drawn
        assert base64.b64encode(drawn).decode() in page
    assert core.weights_sha256 in page
    assert "adaptive:count=adaptive" in page and "What it costs" in page


def test_the_page_shows_what_is_lost(tmp_path):
    """The very answers that differ, worst first, beside a method that has them right."""
    result = compared(keep=(2, 64), pruners=("fastervlm",), settings={}, limit=8, report=tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "answers.jsonl").read_text().splitlines()]
    lost = {line["image"]: 0.0 for line in lines}
    for line in lines:
        if line["kind"] != "caption":  # question by question: nothing that is won makes up for it
            lost[line["image"]] += max(0.0, line["credit"]["none"] - line["credit"]["fastervlm@2"])
    page = (tmp_path / PAGE).read_text()
    shown = re.findall(r"<h3>(scene-\d+) <small>fastervlm (2|64)</small></h3>", page)
    assert shown and [budget for _, budget in shown] == ["2"] * len(shown)
    losses = [lost[image] for image, _ in shown]
    assert losses == sorted(losses, reverse=True) and losses[0] == max(lost.values()) > 0
    assert len(shown) == min(6, sum(one > 0 for one in lost.values()))
    worst = next(line for line in lines if line["image"] == shown[0][0] and line["credit"]["fastervlm@2"] == 0)
    assert worst["prompt"] in page and "with the 2 tokens lit that fastervlm keeps" in page
    assert result.benchmarks[0].rows[1].score < result.benchmarks[0].rows[0].score


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
    wide, narrow = (compared(dtype=dtype, **few).benchmarks[0] for dtype in ("float32", "bfloat16"))
    assert [row.method for row in narrow.rows] == ["none", "fastervlm"]
    for one, other in zip(wide.rows, narrow.rows, strict=True):
        assert other.erank == pytest.approx(one.erank, rel=0.1)
        assert other.erank != one.erank


FEW = {"pruners": ("fastervlm",), "settings": {}, "keep": 16}


@pytest.fixture
def asked(monkeypatch):
    """Method and picture of all that the language model is asked about."""
    found, plain = [], looking.ask

    def ask(model, shown, longest, batch, within):
        found.append([len(shown[0][1].tokens), *(example.name for example, _ in shown)])
        return plain(model, shown, longest, batch, within)

    monkeypatch.setattr(looking, "ask", ask)
    return found


def test_interrupted_work_goes_on_where_it_was(asked, tmp_path, monkeypatch):
    """The same report to the last digit; nothing is asked twice, and a line that was cut short is asked again."""
    plain, told = looking.Asker._look, []

    def dying(asker, looks):
        if len(told) == 2:
            raise KeyboardInterrupt
        told.append(1)
        plain(asker, looks)

    monkeypatch.setattr(looking.Asker, "_look", dying)
    said = []
    with pytest.raises(KeyboardInterrupt):
        compared(limit=4, report=tmp_path, progress=lambda text, done=0, total=0: said.append(text), **FEW)
    assert said[-1] == f"the answers so far are kept in '{tmp_path / 'answers'}'; the same command goes on from there"
    monkeypatch.setattr(looking.Asker, "_look", plain)
    first = list(asked)
    kept = sorted((tmp_path / "answers").iterdir())
    assert len(kept) == 2
    whole = kept[0].read_text()
    kept[0].write_text(whole[:-9])
    resumed = compared(limit=4, report=tmp_path, **FEW)
    scenes = [f"scene-000{n}" for n in range(4)]
    again = asked[len(first) :]
    assert sorted(name for _, *names in again for name in names) == sorted([scenes[1], *scenes[2:] * 2])
    monkeypatch.setattr(looking, "ask", None)
    assert timeless(compared(limit=4, report=tmp_path, **FEW)) == timeless(resumed)
    monkeypatch.undo()
    assert timeless(resumed) == timeless(compared(limit=4, **FEW))
    lines = [json.loads(line) for line in (tmp_path / "answers.jsonl").read_text().splitlines()]
    assert len({line["id"] for line in lines}) == len(lines) == resumed.benchmarks[0].questions
    right = [line["credit"]["fastervlm@16"] for line in lines if line["kind"] != "caption"]
    assert sum(right) / len(right) == pytest.approx(resumed.benchmarks[0].rows[1].score)


def test_one_more_method_is_asked_alone(asked, tmp_path):
    one = compared(limit=2, cache=tmp_path, **FEW)
    asked.clear()
    more = compared(limit=3, cache=tmp_path, **{**FEW, "pruners": ("fastervlm", "random"), "keep": (16, 8)})
    # Of what was there before the third picture alone; of the others all three.
    new = [[576, "scene-0002"], [16, "scene-0002"]]
    assert sorted(asked) == sorted([*new, *([keep, f"scene-000{n}"] for keep in (8, 16, 8) for n in range(3))])
    assert [row.method for row in more.benchmarks[0].rows] == ["none", "fastervlm", "fastervlm", "random", "random"]
    assert one.benchmarks[0].rows[1].method == "fastervlm"
    asked.clear()
    compared(limit=2, cache=tmp_path, dtype="bfloat16", **FEW)  # other arithmetic: nothing of this is known
    assert len(asked) == 4


def test_a_damaged_store_is_one_sentence(tmp_path):
    compared(limit=1, cache=tmp_path, **FEW)
    for path in tmp_path.iterdir():
        path.write_text(path.read_text().replace('"text"', '"words"'))
    with pytest.raises(ArtefactError, match=r"\.jsonl' is damaged \(line 2.*; remove it$"):
        compared(limit=1, cache=tmp_path, **FEW)


def test_a_page_that_cannot_be_written_loses_nothing(tmp_path, monkeypatch):
    """The table is there, and what was asked; an earlier page is not taken for this one."""
    (tmp_path / PAGE).write_text("of another day")
    monkeypatch.setattr("vtp_export.reports.comparison.save_figure", Mock(side_effect=OSError(errno.ENOSPC, "full")))
    with pytest.warns(VtpWarning, match=r"the report was not written: cannot write.*full.*; the same command writes"):
        first = compared(limit=4, report=tmp_path, **FEW)
    assert page_in(tmp_path) is None
    monkeypatch.undo()
    monkeypatch.setattr(looking, "ask", None)  # nothing is asked again
    assert timeless(compared(limit=4, report=tmp_path, **FEW)) == timeless(first)
    assert page_in(tmp_path) is not None


def test_answers_about_another_picture_tell_whether_it_is_seen():
    """Existence is guessed by half, colours and places hardly: below what is really seen."""
    report = compared(limit=4, swap=True, **FEW).benchmarks[0]
    full = report.rows[0]
    assert full.swapped < full.score - 0.2
    assert "other image" in comparison_table("m", report).columns
    with pytest.raises(SpecError, match="a swap takes two pictures or more, and 'shapes' has 1"):
        compared(limit=1, swap=True, **FEW)


def test_a_picture_that_turns_bad_is_left_out_and_counted(tmp_path):
    """Of a file of one's own, where nobody looks at pictures before they are asked about."""
    for name in ("a.png", "b.png"):
        Image.new("RGB", (40, 30), "red").save(tmp_path / name)
    (tmp_path / "c.png").write_bytes(b"no picture")
    lines = [{"image": image, "prompt": "Is there a ring?", "answer": "yes"} for image in ("c.png", "a.png", "c.png")]
    (tmp_path / "q.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    (found,) = compared(benchmark=tmp_path / "q.jsonl", limit=None, **FEW).benchmarks
    assert (found.images, found.questions, len(found.left_out)) == (1, 1, 2)
    assert "c.png" in found.left_out[0]
    assert any("2 questions of" in text and "were left out" in text for text in benchmark_sentences(found))
    (tmp_path / "q.jsonl").write_text(json.dumps(lines[0]))
    with pytest.raises(SpecError, match=r"no picture of '.*' can be used: .*c\.png"):
        compared(benchmark=tmp_path / "q.jsonl", limit=None, **FEW)


def test_a_mistake_is_told_before_anything_is_loaded(monkeypatch):
    monkeypatch.setattr(room, "load_model", lambda *arguments: pytest.fail("loaded"))
    monkeypatch.setattr(room, "subjects_of", lambda *arguments: pytest.fail("read"))
    with pytest.raises(SpecError, match="did you mean 'count'"):
        compared(settings={"cuont": "adaptive"})
    with pytest.raises(SpecError, match="count is 'many'"):
        compared(settings={"count": "many"})
    with pytest.raises(SpecError, match="batch is 0"):
        compared(batch=0)
    with pytest.raises(UnknownNameError, match="no table named '8'"):
        compared(table=8)
    with pytest.raises(SpecError, match="table 7 has settings of its own"):
        compared(table=7)
    plain = {"settings": {}, "pruners": (), "keep": ()}
    with pytest.raises(SpecError, match="table 5 has no method 'random'; it has none, bat, vispruner"):
        compared(table=5, **{**plain, "pruners": "random"})
    with pytest.raises(SpecError, match="table 5 has no budget '32'; it has 128, 64"):
        compared(table=5, **{**plain, "keep": 32})
