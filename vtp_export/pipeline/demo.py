"""`vtp-export demo`: the main job on the embedded model, from export to a picture."""

from dataclasses import dataclass
from pathlib import Path

from vtp_export.errors import ArtefactError
from vtp_export.pipeline.benchmark import examples_of
from vtp_export.pipeline.export import ExportSpec, export
from vtp_export.pipeline.load import load
from vtp_export.pipeline.progress import Progress, silent
from vtp_export.pipeline.report import write_report
from vtp_export.pipeline.validate import ValidateSpec, validate
from vtp_export.pipeline.verdict import ValidationReport
from vtp_export.reports.overlay import overlay

MODEL = "toy"
FORMATS = ("onnx", "torchscript")
BENCHMARK = "photos"
SHOWN = "astronaut"


@dataclass(frozen=True)
class DemoReport:
    """What the demo made."""

    artefact: Path
    validation: ValidationReport
    page: Path
    overlay: Path
    next_command: str


def run_demo(out: Path, progress: Progress = silent) -> DemoReport:
    """Export in two formats, validate both, draw.

    Raises:
        ArtefactError: `out` holds something that is not an earlier demo.
    """
    artefact = out / "artefact"
    if out.exists() and any(out.iterdir()) and not (artefact / "manifest.json").is_file():
        raise ArtefactError(f"'{out}' holds something that is not an earlier demo; name another folder with --out")
    export(ExportSpec(MODEL, artefact, formats=FORMATS, force=True), progress)
    spec = ValidateSpec(artefact, benchmark=BENCHMARK)
    validation = validate(spec, progress)
    page = write_report(validation, spec, out / "report", progress)
    examples = examples_of(BENCHMARK, None)
    shown = next((example for example in examples if SHOWN in example.name), examples[0])
    with load(artefact, "onnx") as frontend:
        kept = frontend([shown.image]).kept[0]
        picture = overlay(shown.image, kept, frontend.manifest.layout, frontend.manifest.preprocessing)
    target = out / f"{Path(shown.name).stem}-overlay.png"
    picture.save(target)
    return DemoReport(artefact, validation, page, target, f"vtp-export inspect {artefact}")
