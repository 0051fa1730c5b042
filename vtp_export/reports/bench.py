"""How long a call takes, and, where every format was checked as well, one table of proof, speed and size."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

from vtp_export.parity.judged import Judged
from vtp_export.reports.check import CheckReport, reminder
from vtp_export.reports.table import Summary, Table
from vtp_export.runtime.checks import Checked

COLUMNS = (
    "format",
    "batch",
    "same tokens",
    "explained",
    "unexplained",
    "largest error",
    "same answers",
    "ms",
    "ratio to onnx",
    "files MB",
    "install MB",
    "verdict",
)


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Milliseconds of one call without preprocessing.

    ratio: the median over that of the same batch's baseline; None where there is no baseline.
    checked: what the last `check` of it came to, on this machine; None for what is no artefact.
    """

    name: str
    batch: int
    median_ms: float
    p10_ms: float
    p90_ms: float
    ratio: float | None
    checked: Checked | None


@dataclass(frozen=True)
class SameAnswers:
    """Of a language model about the golden pictures: how many are the same from the tokens that were recorded.

    limit: the share of them that has to be; of so few that it is no whole number, one more may differ.
    """

    same: int
    asked: int
    limit: float

    @property
    def failures(self) -> tuple[str, ...]:
        """A sentence where too few are the same."""
        least = self.asked - math.ceil((1 - self.limit) * self.asked - 1e-9)
        if self.same >= least:
            return ()
        told = f"{self.same} of {self.asked} answers are those from the tokens that were recorded at the export"
        return (f"{told}; {least} have to be",)


@dataclass(frozen=True, kw_only=True)
class FormatCheck:
    """A format of an artefact on this machine.

    name: as in its `Timing`.
    obstacle: why it cannot run here; None where it was checked.
    check: what `check` found; None where it cannot run here.
    answers: of a language model, where one was named.
    file_bytes: of all its files.
    packages: what runs it, as far as it is installed, with versions.
    install_bytes: of these and of all that they need beyond the core install; None where that is not known.
    """

    name: str
    obstacle: str | None = None
    check: CheckReport | None = None
    answers: SameAnswers | None = None
    file_bytes: int
    packages: dict[str, str]
    install_bytes: int | None

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        answers = None if self.answers is None else asdict(self.answers)
        return {**vars(self), "check": None if self.check is None else self.check.as_dict(), "answers": answers}


@dataclass(frozen=True, kw_only=True)
class BenchReport(Judged):
    """What was timed, and what was checked where that was asked for.

    baseline: the name of what the ratios are to: the first that was timed, or, where formats were checked, the first in
        ONNX Runtime; None where there is none.
    formats: every format of every artefact; none where only times were asked for.
    """

    timings: tuple[Timing, ...]
    baseline: str | None
    formats: tuple[FormatCheck, ...] = ()

    @property
    def failures(self) -> tuple[str, ...]:
        """Of all checks, each with the name of what failed."""
        judged = [(one.name, each) for one in self.formats for each in (one.check, one.answers)]
        checks = [(name, each) for name, each in judged if each is not None]
        return tuple(f"{name}: {failure}" for name, check in checks for failure in check.failures)

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return {
            "passed": self.passed,
            "baseline": self.baseline,
            "timings": [asdict(timing) for timing in self.timings],
            "formats": [one.as_dict() for one in self.formats],
        }


def bench_summary(report: BenchReport) -> Summary:
    """A row for each contender and batch; with the proof, where there is one."""
    if report.formats:
        return _proof(report), *_sentences(report)
    columns = ("what", "batch", "median ms", "p10 ms", "p90 ms", "ratio to the first", "checked here")
    rows = [(t.name, t.batch, t.median_ms, t.p10_ms, t.p90_ms, t.ratio, t.checked) for t in report.timings]
    return Table("latency of one call", columns, rows), *reminder({t.name: t.checked for t in report.timings})


def _proof(report: BenchReport) -> Table:
    """What was timed, in that order, then what cannot run here, with the reason as its verdict."""
    formats = {one.name: one for one in report.formats}
    rows = [_row(timing, formats.get(timing.name)) for timing in report.timings]
    for one in report.formats:
        if one.obstacle is not None:
            rows.append((one.name, *(None,) * 8, *_sizes(one), f"not here: {one.obstacle}"))
    return Table("every format on this machine", COLUMNS, rows)


def _row(timing: Timing, one: FormatCheck | None) -> Sequence[object]:
    """`one` is None for an eager model, which is no format."""
    time = f"{timing.median_ms:.1f}", None if timing.ratio is None else f"{timing.ratio:.2f}"
    if one is None or one.check is None:
        return timing.name, timing.batch, *(None,) * 5, *time, None, None, None
    (comparison,) = one.check.comparisons
    explained = sum(difference.witness is not None for difference in comparison.differences)
    kept = f"{comparison.identical} of {one.check.pictures}", explained, len(comparison.differences) - explained
    error = None if comparison.values is None else f"{comparison.values.relative_error:.1e}"
    said = None if one.answers is None else f"{one.answers.same} of {one.answers.asked}"
    passed = one.check.passed and not (one.answers and one.answers.failures)
    verdict = "passed" if passed else "FAILED"
    return timing.name, timing.batch, *kept, error, said, *time, *_sizes(one), verdict


def _sizes(one: FormatCheck) -> tuple[str, str | None]:
    installed = None if one.install_bytes is None else f"{one.install_bytes / 1e6:.0f}"
    return f"{one.file_bytes / 1e6:.1f}", installed


def _sentences(report: BenchReport) -> Iterator[str]:
    yield from (f"failed: {failure}" for failure in report.failures)
    told = (note for one in report.formats if one.check is not None for note in one.check.notes)
    yield from (f"note: {note}" for note in dict.fromkeys(told))
    if report.baseline is None:
        yield "note: onnx did not run here, so there is nothing that times could be compared with"
