"""Methods over several benchmarks: one column each, and how much of the unpruned model's scores is left on average.

Source: the "Average" and "Rel." columns of AgilePruner's Tables 5 to 7, 11 and 13 to 16, which compute so: 100 times
the unweighted mean, over the columns, of the score divided by the full model's, none of these capped at 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from vtp_export.reports.compared import BenchmarkReport, CompareReport, Standing
from vtp_export.reports.table import Table


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column: what it is called, a benchmark, one of its metrics ("" for the main one), and times what."""

    name: str
    benchmark: str
    metric: str = ""
    unit: float = 100


@dataclass(frozen=True, kw_only=True)
class PrintedScores:
    """What a paper prints of a method: its columns in order, and their average."""

    scores: tuple[float, ...]
    relative: float | None


def relative(scores: Sequence[float], full: Sequence[float]) -> float | None:
    """How much is left, in per cent; None where the full model scores 0 somewhere.

    Args:
        scores: of the columns.
        full: the unpruned model's.

    Example:
        The row of AgilePruner at 64 tokens in Table 7:

        >>> scores = 75.5, 57.4, 54.0, 68.6, 56.0, 84.1, 1703, 60.7, 55.8
        >>> full = 78.5, 61.9, 50.1, 69.5, 58.2, 85.9, 1862, 64.7, 58.1
        >>> round(relative(scores, full), 2)
        96.76
    """
    if not scores or not all(full):
        return None
    return 100 * sum(score / whole for score, whole in zip(scores, full, strict=True)) / len(scores)


def standings(
    reports: Sequence[BenchmarkReport],
    columns: Sequence[Column],
    printed: Sequence[PrintedScores | None] = (),
) -> tuple[Standing, ...]:
    """A row for each method: its scores in all columns, and what is left of the unpruned model's.

    Args:
        reports: of the benchmarks; the same methods in the same order.
        columns: what is shown of them.
        printed: what a paper has for each method; none for nothing.
    """
    by_name = {report.benchmark: report for report in reports}
    rows = []
    for number, first in enumerate(reports[0].rows):
        scores = tuple(_score(by_name[column.benchmark], number, column) for column in columns)
        full = tuple(_score(by_name[column.benchmark], 0, column) for column in columns)
        told = printed[number] if printed else None
        rows.append(
            Standing(
                method=first.method,
                keep=first.keep,
                kept=sum(report.rows[number].kept for report in reports) / len(reports),
                scores=scores,
                relative=relative(scores, full),
                printed=None if told is None else told.scores,
                printed_relative=None if told is None else told.relative,
            )
        )
    return tuple(rows)


def _score(report: BenchmarkReport, number: int, column: Column) -> float:
    return column.unit * report.rows[number].metrics[column.metric or report.metric]


def standings_table(report: CompareReport) -> Table:
    """A column for each benchmark and Rel.; what a paper prints beside it in brackets."""
    rows = [
        (
            row.method,
            f"{row.kept:.4g}",
            *_cells(row.scores, row.printed),
            _cell(row.relative, row.printed_relative if row.printed else None, 2),
        )
        for row in report.standings
    ]
    beside = ", in brackets what is printed there" if any(row.printed for row in report.standings) else ""
    title = f"{report.model} on {len(report.benchmarks)} benchmarks{beside}"
    return Table(title, ("method", "tokens", *report.columns, "Rel. %"), rows)


def _cells(scores: Sequence[float], printed: Sequence[float] | None) -> list[str]:
    told: Sequence[float | None] = printed or [None] * len(scores)
    return [
        _cell(score, other, 0 if score > 100 or (other or 0) > 100 else 1)
        for score, other in zip(scores, told, strict=True)
    ]


def _cell(value: float | None, printed: float | None, digits: int) -> str:
    own = "-" if value is None else f"{value:.{digits}f}"
    return own if printed is None else f"{own} ({printed:.{digits}f})"
