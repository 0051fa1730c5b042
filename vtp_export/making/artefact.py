"""A model and a pruner become an artefact, in a folder that is its own."""

import dataclasses
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vtp_export import rooms
from vtp_export.backends.base import Backend
from vtp_export.errors import ArtefactError, SpecError
from vtp_export.graphs.assembly import Assembly, assemble, calibration_for, load_model, needs_of, read_calibration
from vtp_export.graphs.eager import EagerSession
from vtp_export.graphs.packing import packed, packing_notes, write_newline
from vtp_export.graphs.signals import WithSignals, signals_of
from vtp_export.models._sizes import AskedSize
from vtp_export.models.base import LoadedModel
from vtp_export.parity.originals import Original
from vtp_export.parity.recording import write_golden
from vtp_export.precision.policy import Lowered, Precision, lower
from vtp_export.precision_plans import write_plan
from vtp_export.progress import Progress
from vtp_export.reports.artefact import ExportReport
from vtp_export.runtime.brief import Brief, brief_of
from vtp_export.runtime.changing import write_manifest
from vtp_export.runtime.formats import incapable
from vtp_export.runtime.versions import built_by
from vtp_export.spec import BatchRange, Build, Manifest

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class Order:
    """What `export` was asked for, read and checked; see there.

    backends: by format. options: of each format. pictures: of the golden record. calibrations: records, of which each
        graph takes the one that was made for it.
    """

    model: str | Path
    pruner: str
    settings: Mapping[str, Any]
    backends: Mapping[str, Backend]
    batch: BatchRange
    precision: Precision
    options: Mapping[str, Any]
    calibrations: tuple[Path, ...]
    loop_free: bool
    signals: bool
    pictures: tuple[Original, ...]
    packing: dict[str, Any]
    device: str
    revision: str | None
    progress: Progress


def write_artefact(order: Order, folder: Path, size: AskedSize | None) -> ExportReport:
    """Write an artefact of one size.

    Args:
        order: what was asked for.
        folder: an empty one.
        size: of a model of any resolution.

    Raises:
        VtpError: as `export`.
    """
    started, progress, backends = time.perf_counter(), order.progress, order.backends
    progress(f"loading the front end of {order.model}")
    front_end = load_model(order.model, needs_of(order.pruner, order.settings), order.revision, size)
    loaded, joined = packed(front_end, order.packing)
    record, remarks = calibration_for(loaded, _calibration(order, loaded), order.pruner, order.settings)
    assembly = assemble(loaded, order.pruner, order.settings, record)
    _check_space(folder, loaded, len(backends))
    narrow = lower(assembly.graph, order.precision, loaded.preprocessing, order.device, progress)
    manifest = dataclasses.replace(_manifest(loaded, assembly, narrow, order.batch), packing=joined)
    write_newline(folder, loaded, joined)
    write_plan(folder, narrow.plan)
    if order.signals:
        manifest = dataclasses.replace(manifest, signals=signals_of(narrow.graph))
    twin = None if narrow.record.name == "fp32" else EagerSession(narrow.graph)
    files, told = write_golden(folder, order.pictures, EagerSession(assembly.graph), twin, manifest, progress)
    manifest = dataclasses.replace(manifest, golden=files)
    seconds, builds = {}, []
    for done, name in enumerate(backends):
        progress(f"building {name}", done, len(backends))
        began = time.perf_counter()
        builds.append(_format(order, name, narrow, manifest, folder))
        seconds[name] = time.perf_counter() - began
    manifest = dataclasses.replace(manifest, builds=tuple(builds))
    write_manifest(folder, manifest)
    progress("writing", len(backends), len(backends))
    unable = [incapable(one, narrow.record.name, one.devices[0]) for one in backends.values()]
    notes = (*assembly.notes, *remarks, *packing_notes(loaded, joined, order.batch), *narrow.notes)
    return ExportReport(
        folder=folder,
        manifest=manifest,
        plan=narrow.plan,
        build_seconds=seconds,
        total_seconds=time.perf_counter() - started,
        notes=(*notes, *filter(None, unable), *told),
    )


def _calibration(order: Order, loaded: LoadedModel) -> Path | None:
    """The record that was made for a model, of several; the only one, or none, where there are no others."""
    if len(order.calibrations) < 2:
        return next(iter(order.calibrations), None)
    for path in order.calibrations:
        if read_calibration(path).weights_sha256 == loaded.core.weights_sha256:
            return path
    rows, columns = loaded.frontend.candidates.grid
    names = ", ".join(f"'{path}'" for path in order.calibrations)
    raise SpecError(
        f"none of the calibration records {names} was made for "
        f"'{loaded.core.id}' at {rows} x {columns} tokens; make one with 'vtp-export calibrate'"
    )


def _format(order: Order, name: str, narrow: Lowered, manifest: Manifest, folder: Path) -> Build:
    """Build one format of an artefact."""
    backend = order.backends[name]
    graph: nn.Module = narrow.graph
    brief = brief_of(manifest, order.options[name], loops=backend.loops and not order.loop_free)
    if order.signals and backend.signals:
        graph = WithSignals(narrow.graph, [spec.name for spec in manifest.signals])
        brief = dataclasses.replace(brief, signals=manifest.signals)
    return built(backend, graph, brief, folder, order.progress)


def built(backend: Backend, graph: "nn.Module", brief: Brief, folder: Path, progress: Progress) -> Build:
    """Build from the graph, or from another format's file that is made for it and not kept."""
    if backend.source == "graph":
        return backend.build(graph, brief, folder, progress)
    with tempfile.TemporaryDirectory(dir=folder) as place:
        between: Backend = rooms.load("backends", backend.source).Backend()
        plain = dataclasses.replace(brief, options=None)
        source = between.build(graph, plain, Path(place), progress)
        return backend.build(Path(place) / source.main, brief, folder, progress)


def _check_space(folder: Path, model: LoadedModel, formats: int) -> None:
    """Refuse early what would fill the disk after a minute's work."""
    needed = formats * sum(p.numel() * p.element_size() for p in model.module.parameters())
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise ArtefactError(
            f"the artefact needs about {needed / 1e9:.1f} GB, and where it is written are {free / 1e9:.1f} GB free"
        )


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
