"""What images gave."""

from dataclasses import dataclass
from pathlib import Path

from vtp_export.reports.artefact import unproven
from vtp_export.reports.check import reminder
from vtp_export.reports.table import Summary, Table
from vtp_export.runtime.checks import Checked
from vtp_export.runtime.output import Kept


@dataclass(frozen=True, kw_only=True)
class ViewResult:
    """What one view of an image gave, before any token was dropped."""

    num_kept: int
    erank: float | None
    attention_entropy: float | None


@dataclass(frozen=True, kw_only=True)
class ImageResult:
    """What one image gave.

    num_kept: tokens that the language model reads, newline vectors among them.
    kept: their candidate positions; -1 for a token that belongs to none.
    erank, attention_entropy: of the image, or of its view of the whole.
    view: where an image is several views, which one each token is of: 0 the whole, 1 and up the tiles, -1 a newline.
    views: then, what each of them gave.
    grid: of an artefact of several grids the one that it went to, "26x46".
    """

    image: str
    num_kept: int
    kept: tuple[int, ...]
    erank: float | None
    attention_entropy: float | None
    overlay: Path | None
    view: tuple[int, ...] = ()
    views: tuple[ViewResult, ...] = ()
    grid: str | None = None


def image_result(name: str, kept: Kept, grid: str | None = None) -> ImageResult:
    """Of an image that is one view."""
    return ImageResult(
        image=name,
        num_kept=kept.num_kept,
        kept=tuple(map(int, kept.kept)),
        erank=kept.erank,
        attention_entropy=kept.attention_entropy,
        overlay=None,
        grid=grid,
    )


@dataclass(frozen=True)
class Skipped:
    """An image that was left out, and why."""

    image: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class RunReport:
    """What ran, and where, what it gave for each image, and what was left out.

    checked: what the last `check` of it came to, on this machine.
    proven: whether a validation of this very artefact that passed is recorded.
    provider: of a runtime that has several for a device, the one that ran it, by the runtime's own name; else None.
    """

    folder: Path
    format: str
    device: str
    checked: Checked
    proven: bool
    provider: str | None = None
    images: tuple[ImageResult, ...]
    skipped: tuple[Skipped, ...] = ()


def run_summary(report: RunReport) -> Summary:
    """A row for each image, and for each that was left out."""
    columns: tuple[str, ...] = ("image", "tokens kept", "erank", "attention entropy", "overlay")
    rows: list[tuple[object, ...]] = [
        (one.image, one.num_kept, one.erank, one.attention_entropy, one.overlay) for one in report.images
    ]
    if any(one.views for one in report.images):
        columns = (*columns, "tiles", "newlines")
        rows = [(*row, len(one.views) - 1, one.view.count(-1)) for row, one in zip(rows, report.images, strict=True)]
    if any(one.grid for one in report.images):
        columns = (*columns, "grid")
        rows = [(*row, one.grid) for row, one in zip(rows, report.images, strict=True)]
    table = Table(f"{report.folder}, {report.format} on {report.device}", columns, rows)
    parts: list[Table | str] = [table]
    if report.skipped:
        title = f"skipped, {len(report.skipped)} of {len(report.skipped) + len(report.images)}"
        parts.append(Table(title, ("image", "why"), [(one.image, one.reason) for one in report.skipped]))
    if any(one.overlay for one in report.images):
        parts += unproven(report.folder, report.proven)
    return *parts, *reminder({f"{report.folder} ({report.format})": report.checked})
