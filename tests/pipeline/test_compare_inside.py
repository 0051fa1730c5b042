"""Comparisons with methods inside the language model: beside all others, interrupted and resumed, refused in time."""

import json

import pytest

from tests.pipeline.test_compare import timeless
from vtp_export.comparing import looking
from vtp_export.comparing.choices import methods
from vtp_export.comparing.contenders import wanted_of
from vtp_export.errors import ModelError, SpecError
from vtp_export.pipeline.compare import compare
from vtp_export.reports.comparison import comparison_table
from vtp_export.reports.page import PAGE

INSIDE = ("fastv", "pyramiddrop", "sparsevlm")


@pytest.mark.whole
def test_all_methods_are_in_one_table_and_one_report_and_go_on_where_they_were(tmp_path, monkeypatch):
    """A run that is interrupted, and resumed, ends as one that is not; counts are the same bit for bit."""
    asked = {"pruners": methods(), "benchmark": "shapes", "limit": 2}
    at_once = compare("tiny-llava", 192, **asked, report=tmp_path / "at once")
    plain, looks = looking.Asker._look, []

    def dying(asker, few):
        looks.append(1)
        if len(looks) == 2:
            raise KeyboardInterrupt
        plain(asker, few)

    monkeypatch.setattr(looking.Asker, "_look", dying)
    with pytest.raises(KeyboardInterrupt):
        compare("tiny-llava", 192, **asked, report=tmp_path / "in two")
    monkeypatch.setattr(looking.Asker, "_look", plain)
    resumed = compare("tiny-llava", 192, **asked, report=tmp_path / "in two")
    assert repr(timeless(resumed)) == repr(timeless(at_once))  # some quarters have no image, and NaN is not itself
    (one,) = resumed.benchmarks
    assert sorted(row.method for row in one.rows) == methods()
    table = comparison_table("tiny-llava", one)
    assert len(table.rows) == len(methods())
    assert "booked" in table.columns
    page = (tmp_path / "in two" / PAGE).read_text()
    for name in INSIDE:
        (row,) = (row for row in one.rows if row.method == name)
        assert abs(row.kept - 192) < 1
        assert name in page
    answers = [(tmp_path / place / "answers.jsonl").read_text() for place in ("at once", "in two")]
    assert answers[0] == answers[1]
    assert all(set(json.loads(line)["answers"]) >= {"none", "fastv@192"} for line in answers[0].splitlines())


def test_rows_tell_what_layers_read_and_what_releases_book():
    settings = {"counts": "300/200/110", "ratio": 0.5}
    report = compare("tiny-llava", [160, 200], pruners=INSIDE, settings=settings, limit=1)
    rows = {(row.method, row.keep): row for row in report.benchmarks[0].rows}
    fixed = "sparsevlm:counts=300/200/110"
    assert list(rows) == [
        ("none", 576),
        ("fastv:ratio=0.5", 360),
        *(("pyramiddrop", keep) for keep in (160, 200)),
        (fixed, 300),
    ]
    assert rows["fastv:ratio=0.5", 360].kept == rows["fastv:ratio=0.5", 360].booked == 360
    assert rows[fixed, 300].kept == (576 + 309 + 204 + 113) / 4
    assert rows[fixed, 300].booked == (309 + 204 + 113 + 113) / 4
    assert rows["none", 576].booked is None
    table = comparison_table("tiny-llava", report.benchmarks[0])
    cells = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    assert [(row["tokens"], row["booked"]) for row in cells[::4]] == [("576", "576"), ("300.5", "184.8")]


@pytest.mark.parametrize(
    ("method", "settings", "error", "words"),
    [
        ("fastv", {}, SpecError, "fastv cannot be compared: a mean of 64 visual tokens a layer is out of reach"),
        (
            "sparsevlm",
            {"version": "v2"},
            ModelError,
            "sparsevlm:version=v2 cannot be compared: this method asks the best 14",
        ),
        (
            "pyramiddrop",
            {"after": "1/4"},
            SpecError,
            "pyramiddrop:after=1/4 cannot be compared: setting after is '1/4'",
        ),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_asked(monkeypatch, method, settings, error, words):
    monkeypatch.setattr(looking, "ask", None)
    with pytest.raises(error, match=words):
        compare("tiny-llava", 64, pruners=method, settings=settings, limit=1)


def test_a_method_whose_settings_name_the_tokens_is_there_once():
    wanted = wanted_of(["fastv", "fastervlm"], {"ratio": [None, 0.5]}, [64, 128])
    assert [(one.label, one.settings["keep"]) for one in wanted[1:]] == [
        ("fastv", 64),
        ("fastv", 128),
        ("fastv:ratio=0.5", 64),
        ("fastervlm", 64),
        ("fastervlm", 128),
    ]
