"""A validation as tables, and as a page with pictures of what the artefact kept."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL.Image import Image

from vtp_export.benchmarks.base import Example
from vtp_export.errors import ArtefactError, ImageError, OutputError, UnavailableError
from vtp_export.parity.verdict import ValidationReport
from vtp_export.progress import Progress, silent
from vtp_export.reports.answers import answer_table, disagreement_table
from vtp_export.reports.cases import Case, Source, cases
from vtp_export.reports.environment import EAGER, artefact_digests, environment, packages_of
from vtp_export.reports.judged import COLUMNS, comparison_row, judged_values, pixel_row, pruning, verdict
from vtp_export.reports.overlay import overlay_of_views
from vtp_export.reports.page import Picture, embedded, withdraw_page, write_page
from vtp_export.reports.plan import draw_plan, plan_tables
from vtp_export.reports.table import Summary, Table, mention
from vtp_export.runtime.front_end import PrunedArtefact
from vtp_export.runtime.images import as_image
from vtp_export.runtime.preprocess import view_boxes
from vtp_export.runtime.resolution import stretching
from vtp_export.runtime.tiles import view_names
from vtp_export.spec import Manifest, Preprocessing

MOST_PICTURES = 12
"""That a page shows of images on which nothing differs."""


def report_validation(
    result: ValidationReport,
    artefact: PrunedArtefact,
    own: Manifest,
    examples: Sequence[Example],
    folder: Path,
    progress: Progress = silent,
) -> ValidationReport:
    """Write `folder/index.html`, or note why that cannot be done: the result, which took so long, is shown anyway.

    Args:
        result: what is told.
        artefact: one of those that were validated, open.
        own: what the model itself says, by which pictures are read and drawn.
        examples: what was validated on.
        folder: see `write_page`.
        progress: told of every picture.

    Returns:
        The result, with that note.
    """
    layout, manifest = own.layout, artefact.manifest
    try:
        withdraw_page(folder)
        plan = artefact.artefact.plan()
        drawn = list(cases(result.shown, _source(examples, own.preprocessing), layout, own.preprocessing, progress))
        values = {
            **judged_values(result, result.shown, drawn, validation_table(result)),
            "command": "validate",
            "subject": result.artefact,
            "lead": f"{pruning(own)}. Benchmark: {result.benchmark}.",
            "answers": answer_table(result.answers),
            "disagreements": disagreement_table(result.answers),
            "plan": [(table, draw_plan(plan)) for table in plan_tables(plan)] if plan is not None else [],
            "kept": list(_kept(artefact, own, _others(examples, drawn), progress)),
            "environment": environment((*EAGER, *packages_of(manifest.formats()))),
            "digests": artefact_digests(manifest),
        }
        write_page(folder, "judged.html.j2", values)
    except (ArtefactError, UnavailableError) as error:
        return dataclasses.replace(result, notes=(*result.notes, f"the report was not written: {error}"))
    return result


def _source(examples: Sequence[Example], prep: Preprocessing) -> Source:
    """Photos by the names that comparisons give to them and to their views."""

    def find(name: str) -> tuple[Image, int] | None:
        for example in examples:
            if name.startswith(example.name):
                photo = as_image(example.open(), example.name)
                views = view_names(example.name, len(view_boxes(photo.size, stretching(prep))))
                if name in views:
                    return photo, views.index(name)
        return None

    return find


def _others(examples: Sequence[Example], drawn: Sequence[Case]) -> list[Example]:
    """Those to be drawn besides."""
    there = {picture.name for case in drawn for picture in case.pictures}
    return [example for example in examples if example.name not in there][:MOST_PICTURES]


def _kept(
    artefact: PrunedArtefact, own: Manifest, examples: Sequence[Example], progress: Progress
) -> Iterator[Picture]:
    """What the artefact kept of each image, drawn one after the other."""
    layout, preprocessing = own.layout, own.preprocessing
    packer = dataclasses.replace(artefact.packer, layout=layout, preprocessing=preprocessing, packing=own.packing)
    for done, example in enumerate(examples):
        progress("drawing", done, len(examples))
        image = example.open()
        try:
            picture = packer.picture(image, artefact.run_padded, name=example.name)
        except (
            ImageError,
            OutputError,
        ):  # there is nothing to draw; the failures name it, or the model would shrink it
            continue
        whole = picture.views[0]
        caption = f"{len(picture.tokens)} tokens"
        for label, value in (("erank", whole.erank), ("attention entropy", whole.attention_entropy)):
            caption += "" if value is None else f", {label} {value:.4g}"
        drawn = overlay_of_views(image, picture.kept_by_view, layout, preprocessing)
        yield embedded(drawn, f"{example.name}, the {len(picture.tokens)} kept tokens lit", example.name, caption)


def validation_summary(result: ValidationReport, page: Path | None = None) -> Summary:
    """The tables that have rows, and a sentence for every failure and every note."""
    tables = validation_table(result), answer_table(result.answers), disagreement_table(result.answers)
    sentences = [f"failed: {failure}" for failure in result.failures] + [f"note: {note}" for note in result.notes]
    sentences += [one.sentence for one in result.bisections]
    return *(table for table in tables if table.rows), *sentences, *mention(page)


def validation_table(result: ValidationReport) -> Table:
    """A row for each comparison, in the order of their judgement."""
    rows = [pixel_row(one) for one in result.pixels]
    rows.append(("manifest against model", *(None,) * 10, verdict(not result.false_claims)))
    rows += [comparison_row(one) for one in (*result.comparisons, *result.batches)]
    return Table("validation", COLUMNS, rows)
