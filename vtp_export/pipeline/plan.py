"""`vtp-export plan`: build a TensorRT plan on this machine from an artefact's ONNX file, without torch."""

import time
from dataclasses import dataclass
from pathlib import Path

from vtp_export.backends.base import Plan
from vtp_export.backends.tensorrt import Backend, here, plan_name
from vtp_export.errors import ArtefactError, SpecError, UnavailableError
from vtp_export.progress import Progress, silent
from vtp_export.runtime.artefact import extending, open_artefact
from vtp_export.spec import EngineRecord

FORMAT = "tensorrt"


@dataclass(frozen=True)
class PlanSpec:
    """What to build.

    workspace_gb: see `backends._tensorrt_build.BuildOptions`. force: replace a plan for this kind of GPU.
    """

    folder: Path
    workspace_gb: float | None = None
    force: bool = False


@dataclass(frozen=True)
class PlanReport:
    """What was built, and on what."""

    file: str
    bytes: int
    seconds: float
    engine: EngineRecord


def plan(spec: PlanSpec, progress: Progress = silent) -> PlanReport:
    """Build, and add the plan to the artefact; if that fails, the artefact is what it was.

    Raises:
        ArtefactError: no artefact, no ONNX file in it, damaged, or a plan for this GPU is there already.
        UnavailableError: no TensorRT or no GPU here.
        ExportError: TensorRT refuses the file or cannot build it.
    """
    from vtp_export.backends._tensorrt_build import BuildOptions

    if spec.workspace_gb is not None and not spec.workspace_gb > 0:
        raise SpecError(f"workspace is {spec.workspace_gb}; it must be a number of gigabytes above 0")
    backend = Backend()
    artefact = open_artefact(spec.folder)
    onnx = artefact.model_file("onnx")
    if reason := backend.missing():
        raise UnavailableError(reason)
    engine = here()
    name = plan_name(engine)
    if name in artefact.manifest.files and not spec.force:
        raise ArtefactError(f"'{spec.folder}' has {name} already; use --force to build it anew")
    artefact.verify("onnx")
    manifest, began = artefact.manifest, time.perf_counter()
    asked = Plan(manifest.inputs, manifest.outputs, manifest.batch, manifest.identity())
    with extending(spec.folder, FORMAT) as (place, engines):
        files = backend.build_from(onnx, asked, place, BuildOptions(spec.workspace_gb, progress))
        engines.update(backend.engines(files))
        progress("writing")
    size = (spec.folder / name).stat().st_size
    return PlanReport(name, size, time.perf_counter() - began, engine)
