"""A validation as tables, and as a page with overlays of what the artefact kept."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

from vtp_export.benchmarks.base import Example
from vtp_export.errors import ArtefactError, ImageError, OutputError, UnavailableError
from vtp_export.parity.preprocessing import PixelComparison
from vtp_export.parity.verdict import Comparison, ValidationReport
from vtp_export.progress import Progress, silent
from vtp_export.reports.overlay import overlay_of_views
from vtp_export.reports.page import Picture, write_page
from vtp_export.reports.plan import draw_plan, plan_tables
from vtp_export.reports.table import Summary, Table, mention
from vtp_export.runtime.front_end import PrunedArtefact
from vtp_export.spec import Manifest

MOST_PICTURES = 24
"""That a page shows."""

COLUMNS = (
    "comparison",
    "images",
    "same tokens",
    "explained",
    "unexplained",
    "as good",
    "Jaccard",
    "cosine",
    "error",
    "erank error",
    "entropy error",
    "verdict",
)


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
        examples: what was validated on; the first `MOST_PICTURES` are drawn.
        folder: see `write_page`.
        progress: told of every picture.

    Returns:
        The result, with that note.
    """
    settings = " ".join(f"{key}={value}" for key, value in own.pruner.settings.items())
    values: dict[str, object] = {
        "report": {**dataclasses.asdict(result), "passed": result.passed},
        "validation": validation_table(result),
        "answers": answer_table(result),
        "disagreements": disagreement_table(result),
        "failures": result.failures,
        "pruner": f"{own.pruner.name} ({settings})",
        "budget": own.layout.budget,
        "candidates": own.layout.candidates.n,
        "model": own.model.id,
    }
    try:
        plan = artefact.artefact.plan()
        values["plan"], values["drawn"] = plan_tables(plan), None
        if plan is not None and plan.sensitivities:
            values["drawn"] = draw_plan(plan, folder)
        pictures = _pictures(artefact, own, examples[:MOST_PICTURES], progress)
        write_page(folder, "validation.html.j2", values, pictures)
    except (ArtefactError, UnavailableError) as error:
        return dataclasses.replace(result, notes=(*result.notes, f"the report was not written: {error}"))
    return result


def _pictures(
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
        yield Picture(example.name, caption, overlay_of_views(image, picture.kept_by_view, layout, preprocessing))


def validation_summary(result: ValidationReport, page: Path | None = None) -> Summary:
    """The tables that have rows, and a sentence for every failure and every note."""
    tables = validation_table(result), answer_table(result), disagreement_table(result)
    sentences = [f"failed: {failure}" for failure in result.failures] + [f"note: {note}" for note in result.notes]
    sentences += [one.sentence for one in result.bisections]
    return *(table for table in tables if table.rows), *sentences, *mention(page)


def validation_table(result: ValidationReport) -> Table:
    """A row for each comparison, in the order of their judgement."""
    rows = [pixel_row(one) for one in result.pixels]
    rows.append(("manifest against model", *(None,) * 10, _verdict(not result.false_claims)))
    rows += [comparison_row(one) for one in (*result.comparisons, *result.batches)]
    return Table("validation", COLUMNS, rows)


def pixel_row(one: PixelComparison) -> tuple[object, ...]:
    """A row of `COLUMNS` for what says nothing of tokens: images, the largest error, the verdict."""
    return one.name, one.images, *(None,) * 6, f"{one.largest:.1e}", None, None, _verdict(one.passed)


def comparison_row(one: Comparison) -> tuple[object, ...]:
    """A row of `COLUMNS`."""
    explained = sum(d.witness is not None for d in one.differences)
    cosine = None if one.values is None else f"{one.values.cosine_min:.7f}"
    error = None if one.values is None else f"{one.values.relative_error:.1e}"
    measured = (None if wrong is None else f"{wrong:.1e}" for wrong in (one.erank_error, one.attention_entropy_error))
    worth = one.worth if one.differences else ()  # the same sets are worth the same
    good = ", ".join(f"{by.name} {by.mean:.3f} ({by.worst:.3f})" for by in worth) or None
    kept = one.name, one.images, one.identical, explained, len(one.differences) - explained, good
    return *kept, f"{one.jaccard_mean:.4f}", cosine, error, *measured, _verdict(one.passed)


def answer_table(result: ValidationReport) -> Table:
    """A row for each format that answered."""
    metric = result.answers[0].metric if result.answers else "score"
    columns = ("comparison", "questions", "identical", "tokens alike", f"{metric} of graph", metric, "p", "verdict")
    rows: list[tuple[object, ...]] = [
        (
            a.name,
            a.questions,
            a.identical,
            f"{a.agreement:.5f}",
            f"{a.expected:.4f}",
            f"{a.found:.4f}",
            f"{a.p_value:.2g}",
            _verdict(a.passed),
        )
        for a in result.answers
    ]
    return Table("answers", columns, rows)


def disagreement_table(result: ValidationReport) -> Table:
    """A row for each answer that differs from the graph's."""
    columns = ("comparison", "image", "question", "graph", "found", "margin of the logits")
    rows = [(a.name, *vars(d).values()) for a in result.answers for d in a.disagreements]
    return Table("answers that differ", columns, rows)


def _verdict(passed: bool) -> str:
    return "passed" if passed else "FAILED"
