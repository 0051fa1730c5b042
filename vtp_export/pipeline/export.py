"""`vtp-export export`: a model and a pruner become an artefact."""

import dataclasses
import importlib.metadata
import platform
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import vtp_export
from vtp_export import rooms
from vtp_export.backends.base import Backend, Plan
from vtp_export.errors import ArtefactError, SpecError
from vtp_export.graphs.assembly import Assembly, assemble, calibration_for, load_model, needs_of
from vtp_export.models.base import LoadedModel
from vtp_export.precision.policy import ACTIVATIONS, Lowered, PrecisionSpec, lower
from vtp_export.progress import Progress, silent
from vtp_export.runtime.artefact import record_files, write_manifest, writing
from vtp_export.spec import BatchRange, Manifest

RECORDED = ("torch", "onnx", "onnxscript", "safetensors", "numpy", "pillow")
"""Packages whose versions the manifest carries."""


@dataclass(frozen=True)
class ExportSpec:
    """What to export, and where to.

    model: folder, hub id or embedded name; revision: commit, branch or tag on the hub.
    settings: of the pruner, `keep` among them; texts or values.
    batch: smallest, usual and largest batch.
    calibration: a record of `calibrate`; None takes the one that comes with the checkpoint, if there is one.
    loop_free: unroll the rounds of greedy methods in every format, and not only where the format asks for it.
    precision: what the graph computes with.
    """

    model: str
    out: Path
    pruner: str = "adaptive"
    settings: dict[str, Any] = field(default_factory=dict)
    formats: tuple[str, ...] = ("onnx",)
    batch: tuple[int, int, int] = (1, 1, 16)
    revision: str | None = None
    force: bool = False
    calibration: Path | None = None
    loop_free: bool = False
    precision: PrecisionSpec = field(default_factory=PrecisionSpec)


@dataclass(frozen=True)
class ExportReport:
    """What was written: seconds and bytes by format, and notes for the user."""

    folder: Path
    manifest: Manifest
    build_seconds: dict[str, float]
    bytes_on_disk: dict[str, int]
    total_seconds: float
    notes: tuple[str, ...]


def export(spec: ExportSpec, progress: Progress = silent) -> ExportReport:
    """Export, atomically: `spec.out` holds a whole artefact afterwards, or what it held before.

    Raises:
        VtpError: the model, the pruner, a format or the folder cannot be used; see `errors`.
    """
    started = time.perf_counter()
    backends = {name: rooms.load("backends", name).Backend() for name in spec.formats}
    if not backends:
        raise SpecError(f"no format was named; choose from: {', '.join(rooms.names('backends'))}")
    batch = _batch_range(spec.batch)
    precision = _with_activations(spec.precision, backends)
    with writing(spec.out, spec.force) as folder:
        progress(f"loading the front end of {spec.model}")
        model = load_model(spec.model, needs_of(spec.pruner, spec.settings), spec.revision)
        record = calibration_for(model, spec.calibration)
        assembly = assemble(model, spec.pruner, spec.settings, record)
        _check_space(folder, model, len(backends))
        narrow = lower(assembly.graph, precision, model.preprocessing, progress)
        manifest = _manifest(model, assembly, narrow, batch)
        plan = Plan(manifest.inputs, manifest.outputs, batch, manifest.identity())
        seconds, files, engines = {}, {}, {}
        for done, (name, backend) in enumerate(backends.items()):
            progress(f"building {name}", done, len(backends))
            began = time.perf_counter()
            graph = narrow.graph.unrolled() if spec.loop_free or backend.loop_free else narrow.graph
            paths = backend.build(graph, plan, folder)
            files.update(record_files(folder, name, paths))
            engines.update(backend.engines(paths))
            seconds[name] = time.perf_counter() - began
        manifest = dataclasses.replace(manifest, files=files, engines=engines)
        write_manifest(folder, manifest)
        progress("writing", len(backends), len(backends))
    notes = assembly.notes + narrow.notes
    sizes = {name: sum(file.bytes for file in files.values() if file.format == name) for name in backends}
    return ExportReport(spec.out, manifest, seconds, sizes, time.perf_counter() - started, notes)


def _batch_range(batch: tuple[int, int, int]) -> BatchRange:
    low, usual, high = batch
    if not 1 <= low <= usual <= high:
        raise SpecError(f"batch is {low}:{usual}:{high}; it must be MIN:OPT:MAX with 1 <= MIN <= OPT <= MAX")
    return BatchRange(low, usual, high)


def _check_space(folder: Path, model: LoadedModel, formats: int) -> None:
    """Refuse early what would fill the disk after a minute's work."""
    needed = formats * sum(p.numel() * p.element_size() for p in model.module.parameters())
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise ArtefactError(
            f"the artefact needs about {needed / 1e9:.1f} GB and {folder.parent} has {free / 1e9:.1f} GB free"
        )


def built_by() -> dict[str, str]:
    """Versions of what makes artefacts and records here."""
    versions = {"vtp-export": vtp_export.__version__, "python": platform.python_version()}
    for package in RECORDED:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def _with_activations(precision: PrecisionSpec, backends: Mapping[str, Backend]) -> PrecisionSpec:
    """Settle the form of int8: what the user says, else the first that every format has."""
    if precision.name != "int8":
        return precision
    for name, backend in backends.items():
        if not backend.int8:
            able = [other for other in rooms.names("backends") if rooms.load("backends", other).Backend.int8]
            raise SpecError(f"int8 cannot be built for {name}; formats that can: {', '.join(able)}")
    shared = [form for form in ACTIVATIONS if all(form in backend.int8 for backend in backends.values())]
    if precision.activations is None:
        return dataclasses.replace(precision, activations=shared[0])
    if precision.activations not in shared:
        formats = ", ".join(backends)
        raise SpecError(f"activations is '{precision.activations}'; for {formats} it must be {' or '.join(shared)}")
    return precision


def _manifest(model: LoadedModel, assembly: Assembly, narrow: Lowered, batch: BatchRange) -> Manifest:
    return Manifest(
        model=assembly.model,
        pruner=assembly.pruner,
        layout=assembly.layout,
        inputs=narrow.graph.inputs,
        outputs=narrow.graph.outputs,
        preprocessing=model.preprocessing,
        precision=narrow.record,
        batch=batch,
        versions=built_by(),
    )
