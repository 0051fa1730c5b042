"""What `check` found: an artefact on this machine, held against its golden record."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass

from vtp_export.parity.judged import Judged, failures_of, with_verdicts
from vtp_export.parity.preprocessing import PixelComparison
from vtp_export.parity.verdict import Comparison
from vtp_export.reports.table import Summary, Table
from vtp_export.reports.validation import COLUMNS, comparison_row, pixel_row
from vtp_export.runtime.checks import Checked
from vtp_export.spec import FileRecord


@dataclass(frozen=True)
class JudgedFile:
    """A file that another tool made of one of the artefact's: as it was named, its format, its size and digest."""

    path: str
    format: str
    record: FileRecord


@dataclass(frozen=True, kw_only=True)
class CheckReport(Judged):
    """In the order in which it is judged.

    artefact: its folder, as it was given.
    file: what was judged in the place of its own; None where its formats were.
    pictures: of the golden record.
    pixels: what this machine makes of the pictures, held against what the export made of them.
    comparisons: each format against the graph as it ran at the export.
    batches: each format in batches of other sizes against itself; none where only one size is allowed.
    notes: what the user should know although nothing failed.
    """

    artefact: str
    file: JudgedFile | None = None
    pictures: int
    pixels: PixelComparison
    comparisons: tuple[Comparison, ...]
    batches: tuple[Comparison, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def failures(self) -> tuple[str, ...]:
        """Why this does not pass: a sentence each."""
        return failures_of((self.pixels, *self.comparisons, *self.batches))

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return {
            "artefact": self.artefact,
            "file": None if self.file is None else asdict(self.file),
            "passed": self.passed,
            "pictures": self.pictures,
            "pixels": with_verdicts([self.pixels])[0],
            "comparisons": with_verdicts(self.comparisons),
            "batches": with_verdicts(self.batches),
            "notes": self.notes,
        }


def check_summary(report: CheckReport) -> Summary:
    """The table, a sentence for every failure and every note, and the verdict."""
    rows = [pixel_row(report.pixels), *map(comparison_row, (*report.comparisons, *report.batches))]
    told = [f"failed: {failure}" for failure in report.failures] + [f"note: {note}" for note in report.notes]
    here = "does here what" if report.passed else "does NOT do here what"
    if (file := report.file) is None:
        verdict = f"{report.artefact} {here} it did at the export"
    else:
        size = f"{file.format}, {file.record.bytes / 1e6:.1f} MB, SHA-256 {file.record.sha256[:16]}..."
        verdict = f"{file.path} ({size}) {here} {report.artefact} did at the export"
    return Table("check", COLUMNS, rows), *told, verdict


def reminder(checked: Mapping[str, Checked | None]) -> Iterator[str]:
    """A sentence for what was never checked on this machine, and for what failed.

    Args:
        checked: by the name of what was run; None where there is nothing to check.
    """
    words = {
        "never": "never checked on this machine, so nobody knows whether it keeps the right tokens here",
        "failed": "failed its last check on this machine",
    }
    for word, sentence in words.items():
        if names := [name for name, last in checked.items() if last == word]:
            yield f"{sentence}: {', '.join(names)}; see: vtp-export check"
