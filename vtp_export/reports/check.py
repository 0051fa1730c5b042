"""What `check` found: an artefact on this machine, held against its golden record."""

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from vtp_export.errors import ArtefactError, ImageError, UnavailableError
from vtp_export.parity.golden import Golden
from vtp_export.parity.judged import Judged, Row, failures_of, with_verdicts
from vtp_export.parity.preprocessing import PixelComparison
from vtp_export.parity.verdict import Comparison
from vtp_export.progress import Progress, silent
from vtp_export.reports.cases import cases
from vtp_export.reports.environment import artefact_digests, environment, packages_of
from vtp_export.reports.judged import COLUMNS, comparison_row, judged_values, pixel_row, pruning
from vtp_export.reports.overlay import overlay_of_views
from vtp_export.reports.page import Picture, embedded, withdraw_page, write_page
from vtp_export.reports.table import Summary, Table, mention
from vtp_export.runtime.artefact import Artefact
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
        return failures_of(self.rows)

    @property
    def rows(self) -> tuple[Row, ...]:
        """All that is judged, in that order."""
        return (self.pixels, *self.comparisons, *self.batches)

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


def check_summary(report: CheckReport, page: Path | None = None) -> Summary:
    """The table, a sentence for every failure and every note, and the verdict."""
    told = [f"failed: {failure}" for failure in report.failures] + [f"note: {note}" for note in report.notes]
    return check_table(report), *told, *mention(page), check_sentence(report)


def check_table(report: CheckReport) -> Table:
    """A row for each comparison, in the order of their judgement."""
    rows = [pixel_row(report.pixels), *map(comparison_row, (*report.comparisons, *report.batches))]
    return Table("check", COLUMNS, rows)


def check_sentence(report: CheckReport) -> str:
    """The verdict."""
    here = "does here what" if report.passed else "does NOT do here what"
    if (file := report.file) is None:
        return f"{report.artefact} {here} it did at the export"
    size = f"{file.format}, {file.record.bytes / 1e6:.1f} MB, SHA-256 {file.record.sha256[:16]}..."
    return f"{file.path} ({size}) {here} {report.artefact} did at the export"


def report_check(
    result: CheckReport, artefact: Artefact, golden: Golden, folder: Path, progress: Progress = silent
) -> CheckReport:
    """Write `folder/index.html`, or note why that cannot be done.

    Args:
        result: what is told.
        artefact: what was checked.
        golden: its record, whose pictures are drawn.
        folder: see `write_page`.
        progress: told of every picture.

    Returns:
        The result, with that note.
    """
    manifest, compared = artefact.manifest, (*result.comparisons, *result.batches)
    layout, prep = manifest.layout, manifest.preprocessing
    places = {
        name: (artefact.folder / picture.file, picture.view)
        for name, picture in zip(golden.names, golden.record.pictures, strict=True)
    }
    try:
        withdraw_page(folder)
        drawn = list(cases(compared, places.get, layout, prep, progress))
        judged = manifest.formats() if result.file is None else [result.file.format]
        values = {
            **judged_values(result, compared, drawn, check_table(result)),
            "command": "check",
            "subject": result.artefact if result.file is None else result.file.path,
            "lead": f"{check_sentence(result)}. {pruning(manifest)}.",
            "kept": list(_kept(artefact, golden, progress)),
            "environment": environment(packages_of(judged)),
            "digests": artefact_digests(manifest),
        }
        write_page(folder, "judged.html.j2", values)
    except (ArtefactError, UnavailableError) as error:
        return dataclasses.replace(result, notes=(*result.notes, f"the report was not written: {error}"))
    return result


def _kept(artefact: Artefact, golden: Golden, progress: Progress) -> Iterator[Picture]:
    """What was kept of each picture at the export."""
    layout, prep = artefact.manifest.layout, artefact.manifest.preprocessing
    files = dict.fromkeys(picture.file for picture in golden.record.pictures)
    for done, file in enumerate(files):
        progress("drawing", done, len(files))
        views = [i for i, picture in enumerate(golden.record.pictures) if picture.file == file]
        name, kept = golden.record.pictures[views[0]].name, [golden.output[i].kept for i in views]
        try:
            drawn = overlay_of_views(artefact.folder / file, kept, layout, prep)
        except ImageError:  # a decoder that this machine's Pillow lacks; the pixels tell of it
            continue
        count = sum(map(len, kept))
        alt = f"{name}, the {count} tokens lit that were kept at the export"
        yield embedded(drawn, alt, name, f"{count} tokens at the export")


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
