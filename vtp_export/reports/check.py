"""What `check` found: an artefact on this machine, held against its golden record."""

from dataclasses import dataclass

from vtp_export.parity.preprocessing import PixelComparison
from vtp_export.parity.verdict import Comparison, judged
from vtp_export.reports.table import Summary, Table
from vtp_export.reports.validation import COLUMNS, comparison_row, pixel_row


@dataclass(frozen=True, kw_only=True)
class CheckReport:
    """In the order in which it is judged.

    artefact: its folder, as it was given.
    pictures: of the golden record.
    pixels: what this machine makes of the pictures, held against what the export made of them.
    comparisons: each format against the graph as it ran at the export.
    notes: what the user should know although nothing failed.
    """

    artefact: str
    pictures: int
    pixels: PixelComparison
    comparisons: tuple[Comparison, ...]
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether the pixels and all formats are right."""
        return not self.failures

    @property
    def failures(self) -> tuple[str, ...]:
        """Why this does not pass: a sentence each."""
        rows: tuple[PixelComparison | Comparison, ...] = (self.pixels, *self.comparisons)
        return tuple(f"{one.name}: {failure}" for one in rows for failure in one.failures)

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return {
            "artefact": self.artefact,
            "passed": self.passed,
            "pictures": self.pictures,
            "pixels": judged([self.pixels])[0],
            "comparisons": judged(self.comparisons),
            "notes": self.notes,
        }


def check_summary(report: CheckReport) -> Summary:
    """The table, a sentence for every failure and every note, and the verdict."""
    rows = [pixel_row(report.pixels), *map(comparison_row, report.comparisons)]
    told = [f"failed: {failure}" for failure in report.failures] + [f"note: {note}" for note in report.notes]
    here = "does here what it did" if report.passed else "does NOT do here what it did"
    return Table("check", COLUMNS, rows), *told, f"{report.artefact} {here} at the export"
