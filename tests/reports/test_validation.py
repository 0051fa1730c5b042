"""The table of a validation: every number that a gate judges has a column."""

import dataclasses

import pytest

from vtp_export.parity.preprocessing import PixelComparison
from vtp_export.parity.verdict import Comparison, ValidationReport, Values
from vtp_export.parity.witness import Noise
from vtp_export.reports.validation import validation_table

RIGHT = Comparison(
    name="onnx against graph",
    images=3,
    identical=3,
    jaccard_mean=1.0,
    noise=Noise({}),
    differences=(),
    values=Values(1.0, 1.0, 1.0, 0.0),
    erank_error=None,
    attention_entropy_error=None,
)
PIXELS = PixelComparison(name="preprocessing", images=3, identical=3, largest=0.0, worst="a.png")


def rows(**changes):
    comparison = dataclasses.replace(RIGHT, **changes)
    result = ValidationReport(artefact="a", benchmark="photos", pixels=(PIXELS,), comparisons=(comparison,))
    table = validation_table(result)
    return [dict(zip(table.columns, cells, strict=True)) for cells in table.cells()]


@pytest.mark.parametrize(
    ("changes", "column", "cell"),
    [
        ({"erank_error": 0.25}, "erank error", "2.5e-01"),
        ({"attention_entropy_error": 0.5}, "entropy error", "5.0e-01"),
        ({"jaccard_mean": 0.75}, "Jaccard", "0.7500"),
        ({"values": Values(0.5, 1.0, 1.0, 0.0)}, "cosine", "0.5000000"),
        ({"values": Values(1.0, 1.0, 1.0, 0.125)}, "error", "1.2e-01"),
    ],
)
def test_what_is_judged_is_shown_in_its_column(changes, column, cell):
    *_, before = rows()
    pixels, manifest, after = rows(**changes)
    assert after[column] == cell != before[column]
    assert {name for name in after if after[name] != before[name]} <= {column, "verdict"}
    assert pixels["erank error"] == manifest["entropy error"] == "-"
    assert [row["verdict"] for row in (pixels, manifest)] == ["passed"] * 2
