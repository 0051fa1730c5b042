"""`vtp-export export`: a model and a pruner become an artefact."""

import dataclasses
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vtp_export import rooms
from vtp_export.backends.base import Backend
from vtp_export.errors import ArtefactError, SpecError, UnavailableError, UnknownNameError
from vtp_export.graphs.assembly import Assembly, assemble, calibration_for, load_model, needs_of
from vtp_export.graphs.pruned import PrunedFrontend
from vtp_export.models.base import LoadedModel
from vtp_export.precision.policy import ACTIVATIONS, Lowered, PrecisionSpec, lower
from vtp_export.progress import Progress, silent
from vtp_export.runtime.artefact import write_manifest, writing
from vtp_export.runtime.brief import Brief, brief_of
from vtp_export.runtime.versions import built_by
from vtp_export.settings import from_settings
from vtp_export.spec import BatchRange, Build, Manifest


@dataclass(frozen=True)
class ExportSpec:
    """What to export, and where to.

    model: folder, hub id or embedded name; revision: commit, branch or tag on the hub.
    settings: of the pruner, `keep` among them; texts or values.
    batch: smallest, usual and largest batch.
    calibration: a record of `calibrate`; None takes the one that comes with the checkpoint, if there is one.
    loop_free: unroll the rounds of greedy methods in every format, and not only where the format asks for it.
    precision: what the graph computes with.
    options: of the formats, see `BuildOptions` of their backends; each is given to the formats that have it.
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
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ExportReport:
    """What was written, seconds by format, and notes for the user."""

    folder: Path
    manifest: Manifest
    build_seconds: dict[str, float]
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
    for backend in backends.values():
        if backend.source != "graph" and (reason := backend.missing()):
            raise UnavailableError(reason)  # built last, so it is asked first
    batch = _batch_range(spec.batch)
    precision = _with_activations(spec.precision, backends)
    options = _options(spec.options, backends)
    with writing(spec.out, spec.force) as folder:
        progress(f"loading the front end of {spec.model}")
        model = load_model(spec.model, needs_of(spec.pruner, spec.settings), spec.revision)
        record = calibration_for(model, spec.calibration)
        assembly = assemble(model, spec.pruner, spec.settings, record)
        _check_space(folder, model, len(backends))
        narrow = lower(assembly.graph, precision, model.preprocessing, progress)
        manifest = _manifest(model, assembly, narrow, batch)
        seconds, builds = {}, []
        for done, (name, backend) in enumerate(backends.items()):
            progress(f"building {name}", done, len(backends))
            began = time.perf_counter()
            graph = narrow.graph if backend.loops and not spec.loop_free else narrow.graph.unrolled()
            builds.append(_built(backend, graph, brief_of(manifest, options[name]), folder, progress))
            seconds[name] = time.perf_counter() - began
        manifest = dataclasses.replace(manifest, builds=tuple(builds))
        write_manifest(folder, manifest)
        progress("writing", len(backends), len(backends))
    notes = assembly.notes + narrow.notes
    return ExportReport(spec.out, manifest, seconds, time.perf_counter() - started, notes)


def _built(backend: Backend, graph: PrunedFrontend, brief: Brief, folder: Path, progress: Progress) -> Build:
    """Build from the graph, or from another format's file that is made for it and not kept."""
    if backend.source == "graph":
        return backend.build(graph, brief, folder, progress)
    with tempfile.TemporaryDirectory(dir=folder) as place:
        between: Backend = rooms.load("backends", backend.source).Backend()
        plain = dataclasses.replace(brief, options=None)
        source = between.build(graph, plain, Path(place), progress)
        return backend.build(Path(place) / source.main, brief, folder, progress)


def _batch_range(batch: tuple[int, int, int]) -> BatchRange:
    low, usual, high = batch
    if not 1 <= low <= usual <= high:
        raise SpecError(f"batch is {low}:{usual}:{high}; it must be MIN:OPT:MAX with 1 <= MIN <= OPT <= MAX")
    return BatchRange(low, usual, high)


def _options(given: Mapping[str, Any], backends: Mapping[str, Backend]) -> dict[str, Any]:
    """The `BuildOptions` of each format."""
    known = {name: [field.name for field in dataclasses.fields(b.BuildOptions)] for name, b in backends.items()}
    choices = sorted({key for keys in known.values() for key in keys})
    if unknown := [key for key in given if key not in choices]:
        raise UnknownNameError(f"option of building {' or '.join(backends)}", unknown[0], choices)
    own = {name: {key: given[key] for key in keys if key in given} for name, keys in known.items()}
    return {name: from_settings(b.BuildOptions, own[name], "option") for name, b in backends.items()}


def _check_space(folder: Path, model: LoadedModel, formats: int) -> None:
    """Refuse early what would fill the disk after a minute's work."""
    needed = formats * sum(p.numel() * p.element_size() for p in model.module.parameters())
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise ArtefactError(
            f"the artefact needs about {needed / 1e9:.1f} GB and {folder.parent} has {free / 1e9:.1f} GB free"
        )


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
