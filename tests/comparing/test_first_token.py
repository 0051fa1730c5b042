"""`bench --first-token`: a picture, the front end, and the language model behind it."""

import json
import sys

import numpy as np
import pytest

from vtp_export.cli import main
from vtp_export.comparing.first_token import TEXT, first_token
from vtp_export.costs.decoder import PRESETS, DecoderShape, cache_bytes, prefill_flops
from vtp_export.errors import ModelError, SpecError, UnknownNameError
from vtp_export.integrations.prefill import Prefill
from vtp_export.reports.first_token import COLUMNS, first_token_summary

TINY = DecoderShape(layers=2, width=32, hidden=48, heads=4, kv_heads=2, head_width=8, vocabulary=50)

pytestmark = pytest.mark.whole  # loads a model and its language model


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    monkeypatch.setitem(PRESETS, "tiny", TINY)


def test_a_pruned_front_end_is_held_against_an_unpruned_one(artefact, small_llava):
    report = first_token([artefact], "tiny", formats=["onnx"], rounds=2, against=small_llava)
    pruned, full = report.rows
    assert report.unpruned == full.name and full.ratio == 1
    assert pruned.tokens < full.tokens
    assert pruned.ratio == pytest.approx(full.total_ms / pruned.total_ms)
    for row in report.rows:
        layers = [TEXT + row.tokens] * 2
        assert (row.prefill_flops, row.cache_bytes) == (prefill_flops(TINY, layers), cache_bytes(TINY, layers, 4))
        assert row.front_end_ms > 0 and row.prefill_ms > 0
    table, *rest = first_token_summary(report)
    assert table.columns == COLUMNS and not rest and len(table.rows) == 2


def test_nothing_unpruned_is_told_of(artefact):
    report = first_token([artefact], "tiny", formats=["onnx"], rounds=1)
    assert report.unpruned is None and report.rows[0].ratio is None
    assert "name it with --against MODEL" in first_token_summary(report)[1]


def test_every_token_of_a_prompt_is_read():
    """The shape is the one that was asked for, and a longer prompt is another prompt."""
    language = Prefill("tiny")
    assert language.shape == TINY
    assert language(5).shape == (50,) and np.isfinite(language(5)).all()
    assert np.array_equal(language(5), language(5)) and not np.array_equal(language(5), language(6))
    with pytest.raises(SpecError, match="at least one token, not 0"):
        language(0)


def test_a_checkpoints_language_model_is_read():
    language = Prefill("tiny-llava", dtype="bfloat16")
    assert language.itemsize == 2 and language(3).dtype == np.float32


def test_what_is_no_decoder_is_refused(artefact, tmp_path):
    with pytest.raises(ModelError, match=r"'.*nothing' is no decoder: neither one of 0\.5b, 1b, 3b, 7b"):
        first_token([artefact], str(tmp_path / "nothing"))
    with pytest.raises(UnknownNameError, match="float8"):
        Prefill("tiny", dtype="float8")
    with pytest.raises(SpecError, match="no artefact was named"):
        first_token([], "tiny")


@pytest.mark.parametrize("also", [["--check"], ["--batch", "2"]])
def test_one_picture_at_a_time(also, artefact, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["vtp-export", "bench", str(artefact), "--first-token", "1b", *also])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 2 and "one picture at a time" in capsys.readouterr().err


def test_json_has_every_row(artefact, monkeypatch, capsys):
    arguments = ["bench", str(artefact), "--first-token", "tiny", "--rounds", "1", "--format", "onnx", "--json"]
    monkeypatch.setattr(sys, "argv", ["vtp-export", *arguments])
    with pytest.raises(SystemExit) as left:
        main()
    out = json.loads(capsys.readouterr().out)
    assert not left.value.code and out["rows"][0]["tokens"] > 0 and out["text"] == TEXT
