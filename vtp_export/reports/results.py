"""What images gave."""

from dataclasses import dataclass
from pathlib import Path

from vtp_export.reports.check import reminder
from vtp_export.reports.table import Summary, Table
from vtp_export.runtime.checks import Checked


@dataclass(frozen=True, kw_only=True)
class ImageResult:
    """What one image gave: `kept` are candidate positions, -1 for a token that belongs to none."""

    image: str
    num_kept: int
    kept: tuple[int, ...]
    erank: float | None
    attention_entropy: float | None
    overlay: Path | None


@dataclass(frozen=True)
class Skipped:
    """An image that was left out, and why."""

    image: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class RunReport:
    """What ran, and where, what it gave for each image, and what was left out.

    checked: what the last `check` of it came to, on this machine.
    provider: of a runtime that has several for a device, the one that ran it, by the runtime's own name; else None.
    """

    folder: Path
    format: str
    device: str
    checked: Checked
    provider: str | None = None
    images: tuple[ImageResult, ...]
    skipped: tuple[Skipped, ...] = ()


def run_summary(report: RunReport) -> Summary:
    """A row for each image, and for each that was left out."""
    columns = ("image", "tokens kept", "erank", "attention entropy", "overlay")
    rows = [(one.image, one.num_kept, one.erank, one.attention_entropy, one.overlay) for one in report.images]
    table = Table(f"{report.folder}, {report.format} on {report.device}", columns, rows)
    parts: list[Table | str] = [table]
    if report.skipped:
        title = f"skipped, {len(report.skipped)} of {len(report.skipped) + len(report.images)}"
        parts.append(Table(title, ("image", "why"), [(one.image, one.reason) for one in report.skipped]))
    return *parts, *reminder({f"{report.folder} ({report.format})": report.checked})
