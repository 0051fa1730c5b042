"""What was put onto the hub."""

from dataclasses import dataclass

from vtp_export.reports.table import Summary, Table


@dataclass(frozen=True, kw_only=True)
class PushReport:
    """A commit, or what would be one.

    files: bytes of each, by name. removed: of an earlier artefact in the repository.
    card: the text of its README.md. commit: None where nothing was pushed.
    notes: what the user should know although nothing failed.
    """

    repository: str
    files: dict[str, int]
    removed: tuple[str, ...]
    card: str
    commit: str | None
    notes: tuple[str, ...]


def push_summary(report: PushReport) -> Summary:
    """The files; of what was not pushed the card, too."""
    rows = [(name, f"{size / 1e6:.1f}") for name, size in report.files.items()]
    rows += [(name, "removed") for name in report.removed]
    table = Table(f"{report.repository}", ("file", "MB"), rows)
    notes = [f"note: {note}" for note in report.notes]
    if report.commit is None:
        return table, "its model card would be:", "", report.card, *notes, "nothing was pushed"
    return table, *notes, f"commit {report.commit}", f"next: vtp-export check {report.repository}"
