"""A comparison as a table, and as a page with its figures."""

import itertools
from dataclasses import dataclass
from pathlib import Path

from vtp_export.errors import ArtefactError
from vtp_export.parity.judged import Gate, Judged
from vtp_export.reports.environment import EAGER, environment, model_digests
from vtp_export.reports.figures import metric_against_budget, metric_by_complexity, save_figure
from vtp_export.reports.page import Figure, data_uri, withdraw_page, write_page
from vtp_export.reports.suites import Suite, gate_table
from vtp_export.reports.table import Summary, Table, mention, pairs
from vtp_export.runtime.writing import sentence
from vtp_export.spec import ModelRecord

CHAIR = ("C_S", "C_I", "recall", "length")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One method at one budget.

    kept: mean number of tokens; of a method inside the language model, of those that one of its layers processes.
    share: of the unpruned score. margin: half of the 95 % interval of the difference to the unpruned score, None of one
    image and where the main metric is no mean. p_value: of McNemar's exact test on the questions that only one of the
    two got right. metrics: all of the benchmark's.
    erank: mean effective rank of the kept tokens, not centred (paper, Table 1). entropy: mean entropy, in nats, of CLS
    attention among the kept tokens. milliseconds: median of the eager front end, batch 1, and its two outer deciles.
    All of these None of a method inside the language model, which has no tokens of its own to give.
    by_bin: the main metric in each quarter of the images, simplest first.
    """

    method: str
    keep: int
    kept: float
    score: float
    share: float
    margin: float | None
    p_value: float
    metrics: dict[str, float]
    erank: float | None
    entropy: float | None
    milliseconds: float | None
    milliseconds_p10: float | None
    milliseconds_p90: float | None
    by_bin: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class CompareReport(Judged):
    """All rows, the unpruned model first.

    counted: how many of the questions the main metric is about.
    edges: effective rank of the images between the bins, lowest and highest included. bins: images in each.
    correlation: of the images' effective rank and attention entropy.
    at_least: share of the unpruned score that every method must keep at every budget; None where none was asked.
    """

    model: str
    benchmark: str
    images: int
    questions: int
    counted: int
    metric: str
    rows: tuple[Row, ...]
    edges: tuple[float, ...]
    bins: tuple[int, ...]
    correlation: float
    at_least: float | None = None

    @property
    def gates(self) -> tuple[tuple[str, Gate], ...]:
        """What is asked of each method at each budget, by the name of both."""
        asked = "none was asked (--at-least)" if self.at_least is None else f"at least {self.at_least:.1%}"
        gates = []
        for row in self.rows:
            if row.method != "none":
                found, short = f"{row.share:.1%} ({row.score:.4f})", not row.share >= (self.at_least or 0.0)
                told = f"keeps {row.share:.1%} of the unpruned {self.metric}, {asked} was asked"
                gate = Gate(f"share of the unpruned {self.metric}", found, asked, (told,) if short else ())
                gates.append((f"{row.method} at {row.kept:.4g} tokens", gate))
        return tuple(gates)

    @property
    def failures(self) -> tuple[str, ...]:
        """A sentence for each method that keeps less than was asked."""
        return tuple(f"{name}: {failure}" for name, gate in self.gates for failure in gate.failures)


def comparison_table(report: CompareReport) -> Table:
    """A row for each method at each budget."""
    names = [name for name in report.rows[0].metrics if name != report.metric and not name.startswith("F1 ")]
    measures = ("erank kept", "entropy kept", "ms", "p10 to p90")
    columns = ("method", "tokens", report.metric, "% of full", "points lost or won", "p", *names, *measures)
    full = report.rows[0].score
    rows: list[tuple[object, ...]] = []
    for row in report.rows:
        rest = [f"{row.metrics.get(name, float('nan')):.{1 if name == 'length' else 3}f}" for name in names]
        cells = f"{row.kept:.4g}", f"{row.score:.4f}", f"{100 * row.share:.1f}", *_difference(row, full), *rest
        rows.append((row.method, *cells, *_measured(row)))
    about = f"{report.images} images, {report.questions} questions"
    if report.counted != report.questions:
        about += f", {report.counted} of them in the {report.metric}"
    return Table(f"{report.model} on {report.benchmark}, {about}", columns, rows)


def _measured(row: Row) -> tuple[str, ...]:
    """Of what is kept, and the milliseconds, where there are any."""
    if row.milliseconds is None or row.erank is None or row.entropy is None:
        return "-", "-", "-", "-"
    spread = f"{row.milliseconds_p10:.1f} to {row.milliseconds_p90:.1f}"
    return f"{row.erank:.1f}", f"{row.entropy:.2f}", f"{row.milliseconds:.1f}", spread


def _difference(row: Row, full: float) -> tuple[str, str]:
    """To the unpruned model, with its interval, and the chance of it."""
    if row.method == "none":
        return "-", "-"
    margin = "" if row.margin is None else f" ± {100 * row.margin:.1f}"
    return f"{100 * (row.score - full):+.1f}{margin}", f"{row.p_value:.2g}"


def comparison_summary(report: CompareReport, page: Path | None) -> Summary:
    """The table, and how the two measures of complexity go together."""
    sentences = (
        "points lost or won: against none, with a 95 % interval over images; p: McNemar's exact test of the questions",
        f"erank and attention entropy of the images correlate with {report.correlation:.2f}",
    )
    return comparison_table(report), *sentences, *(f"failed: {one}" for one in report.failures), *mention(page)


def comparison_suite(report: CompareReport) -> Suite:
    """Each method at each budget is a case, whether or not anything is asked of it: its text has the numbers."""
    return Suite(
        subject=f"{report.model} on {report.benchmark}", gates=report.gates, tables=(comparison_table(report),)
    )


def write_comparison(report: CompareReport, folder: Path, model: ModelRecord) -> Path:
    """Write `folder/index.html`, and its figures beside it once more, for other documents.

    Args:
        report: what is told.
        folder: see `write_page`.
        model: which weights it was found on.

    Returns:
        Path of the page.

    Raises:
        ArtefactError: the folder cannot be written.
        UnavailableError: jinja2 or matplotlib is not installed.
    """
    withdraw_page(folder)
    budget, *complexity = _drawn(report, folder)
    full, *rest = report.rows
    best = max(rest, key=lambda row: row.score, default=full)
    least = min(rest, key=lambda row: row.score, default=full)
    values = {
        "command": "compare",
        "report": report,
        "verdict": _verdict(report),
        "lead": f"{report.images} images, {report.questions} questions, {report.counted} of them in the "
        f"{report.metric}; the unpruned model reads {full.kept:.4g} tokens of an image.",
        "headline": [
            (f"{report.metric}, unpruned", f"{full.score:.4f}"),
            (f"best: {best.method}, {best.kept:.4g} tokens", f"{100 * best.share:.1f} %"),
            (f"least: {least.method}, {least.kept:.4g} tokens", f"{100 * least.share:.1f} %"),
        ],
        "gates": None if report.at_least is None else gate_table(report.gates),
        "numbers": comparison_table(report),
        "budget": budget,
        "complexity": complexity,
        "by_bin": bin_table(report),
        "environment": environment(EAGER),
        "digests": pairs("digests", {**model_digests(model), "benchmark": report.benchmark}),
    }
    return write_page(folder, "comparison.html.j2", values)


def _verdict(report: CompareReport) -> str:
    """On top of the page; a comparison of which nothing is asked has none."""
    if report.at_least is not None:
        return "✓ Passed" if report.passed else "✗ Failed"
    return f"{len(dict.fromkeys(row.method for row in report.rows[1:]))} methods against the unpruned model"


def bin_table(report: CompareReport) -> Table:
    """The main metric of every method in each quarter of the images, simplest first."""
    spans = zip(itertools.pairwise(report.edges), report.bins, strict=True)
    columns = [f"erank {low:.0f} to {high:.0f} ({count} images)" for (low, high), count in spans]
    rows = [(row.method, f"{row.kept:.4g}", *(f"{score:.4f}" for score in row.by_bin)) for row in report.rows]
    return Table(f"{report.metric} by complexity", ("method", "tokens", *columns), rows)


def _drawn(report: CompareReport, folder: Path) -> list[Figure]:
    """The metric against the budget, then for each budget by complexity."""
    pruned = [row for row in report.rows if row.method != "none"]
    methods = list(dict.fromkeys(row.method for row in pruned))
    lines = {name: [(row.kept, row.score) for row in pruned if row.method == name] for name in methods}
    figure = metric_against_budget(lines, report.rows[0].score, report.metric)
    drawn = [("budget.svg", f"{report.metric} against budget", figure)]
    for keep in sorted({row.keep for row in pruned if row.kept == row.keep}):
        lines_of_bins = {row.method: row.by_bin for row in report.rows if row.method == "none" or row.keep == keep}
        title = f"{report.metric} by complexity, {keep} tokens"
        figure = metric_by_complexity(lines_of_bins, report.edges, report.bins, report.metric, title)
        drawn.append((f"complexity-{keep}.svg", title, figure))
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
