"""What pages and tables of `validate` and `check` have in common: rows of numbers, the headline, the worst cases."""

from collections.abc import Sequence
from typing import Any, Protocol

from vtp_export.parity.judged import Row
from vtp_export.parity.preprocessing import PixelComparison
from vtp_export.parity.verdict import Comparison
from vtp_export.reports.cases import Case
from vtp_export.reports.table import Table
from vtp_export.spec import Manifest

COLUMNS = (
    "comparison",
    "images",
    "same tokens",
    "explained",
    "unexplained",
    "as good",
    "Jaccard",
    "cosine",
    "error",
    "erank error",
    "entropy error",
    "verdict",
)


class JudgedRows(Protocol):
    """A report with rows of gates, and notes."""

    @property
    def passed(self) -> bool:
        """Whether every gate is met."""
        ...

    @property
    def rows(self) -> tuple[Row, ...]:
        """All that is judged, in that order."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know although nothing failed."""
        ...


def judged_values(
    report: JudgedRows, comparisons: Sequence[Comparison], cases: Sequence[Case], numbers: Table
) -> dict[str, Any]:
    """What `judged.html.j2` reads of every report.

    Args:
        report: with its verdict, its gates, its failures and its notes.
        comparisons: of which tokens were kept.
        cases: see there.
        numbers: the table of all comparisons.
    """
    rows = [(case.comparison, case.image, *case.parting, case.margin) for case in cases]
    columns = ("comparison", "image", "only the first keeps", "only the second keeps", "margin")
    return {
        "report": report,
        "headline": _headline(report, comparisons),
        "cases": cases,
        "differences": Table("differences", columns, rows),
        "numbers": numbers,
        "by_complexity": complexity_table(comparisons),
        "answers": Table("answers", (), ()),
        "disagreements": Table("answers that differ", (), ()),
        "plan": [],
    }


def complexity_table(comparisons: Sequence[Comparison]) -> Table:
    """Which tokens are kept, in quarters of the images by complexity: a row for each quarter of each comparison."""
    rows = [
        (one.name, f"{few.low:.1f} to {few.high:.1f}", few.images, few.identical, f"{few.jaccard_mean:.4f}")
        for one in comparisons
        for few in one.by_complexity
    ]
    return Table("by complexity", ("comparison", "erank of the kept tokens", "images", "same tokens", "Jaccard"), rows)


def _headline(report: JudgedRows, comparisons: Sequence[Comparison]) -> list[tuple[str, str]]:
    """The few numbers that people look for."""
    gates = [gate for row in report.rows for gate in row.held_to]
    images, same = sum(one.images for one in comparisons), sum(one.identical for one in comparisons)
    explained = sum(d.witness is not None for one in comparisons for d in one.differences)
    different = sum(len(one.differences) for one in comparisons)
    told = [
        ("gates met", f"{sum(gate.passed for gate in gates)} of {len(gates)}"),
        ("selections the same", f"{same} of {images}"),
        ("explained by rounding", str(explained)),
        ("not explained", str(different - explained)),
    ]
    if cosines := [one.values.cosine_min for one in comparisons if one.values is not None]:
        told.append(("lowest cosine of a token", f"{min(cosines):.6f}"))
    return told


def pruning(manifest: Manifest) -> str:
    """What is pruned, and how far, in a sentence without its stop."""
    layout, precision = manifest.layout, manifest.precision.name
    kept = f"{layout.budget} of {layout.candidates.n} visual tokens of {manifest.model.id}"
    return f"{manifest.pruner.name} keeps {kept}, in {precision}"


def pixel_row(one: PixelComparison) -> tuple[object, ...]:
    """A row of `COLUMNS` for what says nothing of tokens: images, the largest error, the verdict."""
    return one.name, one.images, *(None,) * 6, f"{one.largest:.1e}", None, None, verdict(one.passed)


def comparison_row(one: Comparison) -> tuple[object, ...]:
    """A row of `COLUMNS`."""
    explained = sum(d.witness is not None for d in one.differences)
    cosine = None if one.values is None else f"{one.values.cosine_min:.7f}"
    error = None if one.values is None else f"{one.values.relative_error:.1e}"
    measured = (None if wrong is None else f"{wrong:.1e}" for wrong in (one.erank_error, one.attention_entropy_error))
    worth = one.worth if one.differences else ()  # the same sets are worth the same
    good = ", ".join(f"{by.name} {by.mean:.3f} ({by.worst:.3f})" for by in worth) or None
    kept = one.name, one.images, one.identical, explained, len(one.differences) - explained, good
    return *kept, f"{one.jaccard_mean:.4f}", cosine, error, *measured, verdict(one.passed)


def verdict(passed: bool) -> str:
    """In a cell."""
    return "passed" if passed else "FAILED"
