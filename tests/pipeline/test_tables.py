"""`compare --table 7` end to end: all nine data sets by stand-ins, all its methods, and what is printed beside."""

import dataclasses
import json

import pytest

from bench import checkpoint, table7
from vtp_export.errors import UnavailableError, VtpWarning
from vtp_export.pipeline.compare import compare
from vtp_export.reports.standings import standings_table

SMALL = {"WIDTH": 32, "INNER": 64, "LAYERS": 4, "HEADS": 2, "IMAGE": 84, "PATCH": 7}
"""144 tokens, so that the budgets of 128, 64 and 32 prune."""


@pytest.fixture
def place(tmp_path, monkeypatch):
    for name, value in SMALL.items():
        monkeypatch.setattr(checkpoint, name, value)
    keys = dict(zip(checkpoint.VISION, ("clip_vision_model", *SMALL.values()), strict=True))
    monkeypatch.setattr(checkpoint, "VISION", keys)
    home = tmp_path / "vtp-export" / "benchmarks"
    table7.write_sets(home, 1)
    checkpoint.write_checkpoint(tmp_path / "model", 64)
    table7.add_language_model(tmp_path / "model", home, 64, layers=4, heads=4)
    return tmp_path


@pytest.mark.whole
def test_table_7_from_end_to_end(place, monkeypatch):
    with pytest.warns(VtpWarning):
        result = table7.run(place, 1, model=place / "model")
    assert [one.benchmark for one in result.benchmarks] == list(table7.SETS)
    assert len(result.standings) == 22  # of the full model, and 8, 8 and 5 methods
    assert {row.method for row in result.standings} >= {"FastV", "PDrop", "SparseVLM", "PruMerge+", "Ours"}
    ours = next(row for row in result.standings if (row.method, row.keep) == ("Ours", 64))
    assert ours.printed_relative == 96.76 and ours.printed[0] == 75.5
    assert not [note for note in result.notes if "left out" in note]
    table = standings_table(result)
    assert table.columns == ("method", "tokens", *(name for name in result.columns), "Rel. %")
    assert table.rows[0][8].endswith("(1862)")
    lines = [json.loads(line) for line in (place / "table7" / "answers.jsonl").read_text().splitlines()]
    assert len(lines) == sum(one.questions for one in result.benchmarks) == 5 + 6 + 2 + 4 + 4
    assert len(lines[0]["answers"]) == 22 and len({line["id"] for line in lines}) == len(lines)
    # Again: nothing is asked, and nothing is different.
    monkeypatch.setattr("vtp_export.comparing.looking.ask", None)
    with pytest.warns(VtpWarning):
        again = table7.run(place, 1, model=place / "model")
    assert again.standings == result.standings


@pytest.mark.filterwarnings("ignore::vtp_export.errors.VtpWarning")
def test_a_row_of_table_7(place, monkeypatch):
    """One method at one budget on two of its benchmarks, worded as LLaVA's evaluation does."""
    asked = []
    monkeypatch.setattr("vtp_export.integrations.transformers.Frames.split", _told(asked))
    chosen = {"pruners": "adaptive", "keep": 64, "benchmark": ["pope", "mme"]}
    result = table7.run(place, 1, model=place / "model", **chosen)
    assert [(row.method, row.keep) for row in result.standings] == [("none", 144), ("Ours", 64)]
    assert [row.printed for row in result.standings] == [(85.9, 1862), (84.1, 1703)]
    assert set(asked) == {"vicuna_v1"}
    assert dataclasses.replace(result.standings[0], relative=None).printed_relative is None


def _told(asked):
    from vtp_export.integrations.prompts import Frames

    plain = Frames.split

    def split(frames, question, texts=(("", ""),)):
        asked.append(frames.form)
        return plain(frames, question, texts)

    return split


def test_data_that_are_not_here_are_named_all_at_once(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("vtp_export.benchmarks._published.can_fetch", lambda: False)
    with pytest.raises(UnavailableError, match=r"'gqa' is not here: .*'scienceqa' is not here: .*'mme' is"):
        compare("tiny-llava", table=5)
