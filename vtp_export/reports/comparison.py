"""A comparison as tables, and as a page with its figures."""

import itertools
from collections.abc import Sequence
from pathlib import Path

from vtp_export.errors import ArtefactError
from vtp_export.reports.compared import BenchmarkReport, CompareReport, Row
from vtp_export.reports.costs import COSTS, cost_table
from vtp_export.reports.environment import EAGER, environment, model_digests
from vtp_export.reports.figures import metric_against_budget, metric_by_complexity, save_figure
from vtp_export.reports.losses import Loss
from vtp_export.reports.page import Figure, data_uri, withdraw_page, write_page
from vtp_export.reports.standings import standings_table
from vtp_export.reports.suites import Suite, gate_table
from vtp_export.reports.table import Summary, Table, mention, pairs
from vtp_export.runtime.writing import sentence
from vtp_export.spec import ModelRecord

POINTS = ("length", "perception", "cognition", "total")
"""Metrics that are no shares."""

DIFFERENCE = ("points lost or won", "p", "p of single answers")

EXPLAINED = (
    "points lost or won: against none, with a 95 % interval over images; p: of exchanging the answers about images; "
    "p of single answers: McNemar's exact test"
)
RELATIVE = "Rel.: 100 times the mean over the columns of the score divided by that of the unpruned model, not capped"


def comparison_table(model: str, report: BenchmarkReport) -> Table:
    """A row for each method at each budget."""
    names = [name for name in report.rows[0].metrics if name != report.metric and not name.startswith("F1 ")]
    swapped = ["other image"] if report.rows[0].swapped is not None else []
    measures = (*swapped, "erank kept", "entropy kept")
    booked = ["booked"] if any(row.booked is not None for row in report.rows) else []
    columns = ("method", "tokens", *booked, report.metric, "% of full", *DIFFERENCE, *names, *measures)
    full = report.rows[0].score
    rows: list[tuple[object, ...]] = []
    for row in report.rows:
        rest = [_number(name, row.metrics.get(name, float("nan"))) for name in names]
        tokens = [f"{row.kept:.4g}", *([f"{row.booked or row.kept:.4g}"] if booked else [])]
        cells = f"{row.score:.4f}", f"{100 * row.share:.1f}", *_difference(row, full), *rest
        other = [] if row.swapped is None else [f"{row.swapped:.4f}"]
        rows.append((row.method, *tokens, *cells, *other, *_measured(row)))
    about = f"{report.images} images, {report.questions} questions"
    if report.counted != report.questions:
        about += f", {report.counted} of them in the {report.metric}"
    if report.left_out:
        about += f"; {len(report.left_out)} left out"
    return Table(f"{model} on {report.benchmark}, {about}", columns, rows)


def _number(name: str, value: float) -> str:
    return f"{value:.{1 if name in POINTS else 3}f}"


def _measured(row: Row) -> tuple[str, ...]:
    """Of what is kept, where the front end keeps it."""
    return ("-", "-") if row.erank is None or row.entropy is None else (f"{row.erank:.1f}", f"{row.entropy:.2f}")


def _difference(row: Row, full: float) -> tuple[str, ...]:
    """To the unpruned model, with its interval, and the chance of it by either test."""
    if row.method == "none":
        return "-", "-", "-"
    interval = "" if row.interval is None else " ({:+.1f} to {:+.1f})".format(*(100 * end for end in row.interval))
    return f"{100 * (row.score - full):+.1f}{interval}", f"{row.p_permuted:.2g}", f"{row.p_value:.2g}"


BOOKED = (
    "tokens: of a method inside the language model, what its layers read, on average; booked: the same as its release "
    "counts"
)


def benchmark_sentences(report: BenchmarkReport) -> tuple[str, ...]:
    """How the two measures of complexity go together, what tokens are, and what was left out."""
    found = [BOOKED] if any(row.booked is not None for row in report.rows) else []
    found += [f"erank and attention entropy of the images correlate with {report.correlation:.2f}"]
    if report.left_out:
        found.append(
            f"{len(report.left_out)} questions of {report.benchmark} were left out, the first because "
            f"{report.left_out[0]}"
        )
    return tuple(found)


def comparison_summary(report: CompareReport, page: Path | None) -> Summary:
    """A table for each benchmark, and where there are several one of them all."""
    parts: list[Table | str] = []
    for one in report.benchmarks:
        parts += [comparison_table(report.model, one), *benchmark_sentences(one)]
    parts.append(EXPLAINED)
    if len(report.columns) > 1 or any(row.printed for row in report.standings):
        parts += [standings_table(report), RELATIVE]
    if report.costs:
        parts += [cost_table(report.costs), COSTS]
    return *parts, *report.notes, *(f"failed: {one}" for one in report.failures), *mention(page)


def comparison_suite(report: CompareReport) -> Suite:
    """Each method at each budget is a case, whether or not anything is asked of it: its text has the numbers."""
    tables = tuple(comparison_table(report.model, one) for one in report.benchmarks)
    return Suite(
        subject=f"{report.model} on {_names(report)}",
        gates=report.gates,
        tables=(
            *([standings_table(report)] if len(report.benchmarks) > 1 else []),
            *tables,
            *([cost_table(report.costs)] if report.costs else []),
        ),
        notes=report.notes,
    )


def _names(report: CompareReport) -> str:
    return ", ".join(one.benchmark for one in report.benchmarks)


def write_comparison(report: CompareReport, losses: Sequence[Sequence[Loss]], folder: Path, model: ModelRecord) -> Path:
    """Write `folder/index.html`, and its figures beside it once more, for other documents.

    Args:
        report: what is told.
        losses: of each benchmark, the worst first.
        folder: see `write_page`.
        model: which weights it was found on.

    Returns:
        Path of the page.

    Raises:
        ArtefactError: the folder cannot be written.
        UnavailableError: jinja2 or matplotlib is not installed.
    """
    withdraw_page(folder)
    several = len(report.benchmarks) > 1
    images, questions = (sum(getattr(one, what) for one in report.benchmarks) for what in ("images", "questions"))
    full = report.standings[0]
    explained = [EXPLAINED, *([RELATIVE] if several else []), *([COSTS] if report.costs else []), *report.notes]
    values = {
        "command": "compare",
        "report": report,
        "names": _names(report),
        "verdict": _verdict(report),
        "gates": None if report.at_least is None else gate_table(report.gates),
        "lead": f"{images} images, {questions} questions; the unpruned model reads {full.kept:.4g} tokens of an image.",
        "headline": _headline(report),
        "standings": standings_table(report) if several else None,
        "costs": cost_table(report.costs) if report.costs else None,
        "parts": [
            {**_part(report.model, one, folder, f"{one.benchmark}-" if several else ""), "losses": lost}
            for one, lost in zip(report.benchmarks, losses, strict=True)
        ],
        "explained": explained,
        "environment": environment(EAGER),
        "digests": pairs("digests", {**model_digests(model), "benchmark": _names(report)}),
    }
    return write_page(folder, "comparison.html.j2", values)


def _verdict(report: CompareReport) -> str:
    """On top of the page; a comparison of which nothing is asked has none."""
    if report.at_least is not None:
        return "✓ Passed" if report.passed else "✗ Failed"
    return f"{len(dict.fromkeys(row.method for row in report.standings[1:]))} methods against the unpruned model"


def _headline(report: CompareReport) -> list[tuple[str, str]]:
    """The unpruned model, the best and the least."""
    full, *rest = report.standings
    found = [(f"{name}, unpruned", f"{score:.4g}") for name, score in zip(report.columns, full.scores, strict=True)]
    for word, choose in (("best", max), ("least", min)):
        one = choose(rest, key=lambda row: row.relative or 0.0, default=full)
        found.append((f"{word}: {one.method}, {one.kept:.4g} tokens", f"{one.relative or 0.0:.1f} %"))
    return found


def _part(model: str, report: BenchmarkReport, folder: Path, prefix: str) -> dict[str, object]:
    """What the page tells of one benchmark."""
    budget, *complexity = _drawn(report, folder, prefix)
    return {
        "report": report,
        "numbers": comparison_table(model, report),
        "budget": budget,
        "complexity": complexity,
        "by_bin": bin_table(report),
        "sentences": benchmark_sentences(report),
    }


def bin_table(report: BenchmarkReport) -> Table:
    """The main metric of every method in each quarter of the images, simplest first."""
    spans = zip(itertools.pairwise(report.edges), report.bins, strict=True)
    columns = [f"erank {low:.0f} to {high:.0f} ({count} images)" for (low, high), count in spans]
    rows = [(row.method, f"{row.kept:.4g}", *(f"{score:.4f}" for score in row.by_bin)) for row in report.rows]
    return Table(f"{report.metric} by complexity", ("method", "tokens", *columns), rows)


def _drawn(report: BenchmarkReport, folder: Path, prefix: str) -> list[Figure]:
    """The metric against the budget, then for each budget by complexity."""
    pruned = [row for row in report.rows if row.method != "none"]
    methods = list(dict.fromkeys(row.method for row in pruned))
    lines = {name: [(row.kept, row.score) for row in pruned if row.method == name] for name in methods}
    figure = metric_against_budget(lines, report.rows[0].score, report.metric)
    drawn = [(f"{prefix}budget.svg", f"{report.metric} against budget", figure)]
    for keep in sorted({row.keep for row in pruned if row.kept == row.keep}):
        lines_of_bins = {row.method: row.by_bin for row in report.rows if row.method == "none" or row.keep == keep}
        title = f"{report.metric} by complexity, {keep} tokens"
        figure = metric_by_complexity(lines_of_bins, report.edges, report.bins, report.metric, title)
        drawn.append((f"{prefix}complexity-{keep}.svg", title, figure))
    figures = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file, title, figure in drawn:
            uri = data_uri("image/svg+xml", save_figure(figure, folder / file).read_bytes())
            alt = (
                f"{title}: a line for each of {', '.join(methods)}, and the unpruned model; the tables have the numbers"
            )
            figures.append(Figure(uri, title[:1].upper() + title[1:], alt))
    except OSError as error:
        raise ArtefactError(sentence(error, folder)) from error
    return figures
