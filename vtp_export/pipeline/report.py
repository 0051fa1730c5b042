"""The page of a validation: its numbers, and overlays of what the artefact kept."""

import dataclasses
from pathlib import Path

from vtp_export.pipeline.benchmark import examples_of
from vtp_export.pipeline.load import load
from vtp_export.pipeline.progress import Progress, silent
from vtp_export.pipeline.validate import ValidateSpec
from vtp_export.pipeline.verdict import ValidationReport, answer_rows, validation_rows
from vtp_export.reports.overlay import overlay
from vtp_export.reports.page import Picture, write_page

MOST_PICTURES = 24


def write_report(result: ValidationReport, spec: ValidateSpec, folder: Path, progress: Progress = silent) -> Path:
    """Write `folder/index.html`.

    Returns:
        Path of the page.
    """
    fmt = spec.formats[0] if spec.formats else None
    pictures = []
    examples = examples_of(spec.benchmark, min(spec.limit or MOST_PICTURES, MOST_PICTURES))
    with load(spec.folder, fmt, provider=spec.provider) as artefact:
        manifest = artefact.manifest
        for done, example in enumerate(examples):
            progress("drawing", done, len(examples))
            output = artefact([example.image] * manifest.batch.min)
            caption = f"{int(output.num_kept[0])} tokens"
            for label, values in (("erank", output.erank), ("attention entropy", output.attention_entropy)):
                caption += "" if values is None else f", {label} {float(values[0]):.4g}"
            picture = overlay(example.image, output.kept[0], manifest.layout, manifest.preprocessing)
            pictures.append(Picture(example.name, caption, picture))
    columns, rows, failures = validation_rows(result)
    settings = " ".join(f"{key}={value}" for key, value in manifest.pruner.settings.items())
    answer_columns, answers = answer_rows(result)
    told: dict[str, object] = {
        "answer_columns": answer_columns,
        "answer_rows": answers,
        "report": {**dataclasses.asdict(result), "passed": result.passed},
        "columns": columns,
        "rows": rows,
        "failures": failures,
        "pruner": f"{manifest.pruner.name} ({settings})",
        "budget": manifest.layout.budget,
        "n_tokens": manifest.layout.candidates.n,
        "model": manifest.model.id,
    }
    return write_page(folder, "validation.html.j2", told, pictures)
