"""An artefact of several grids: one of each in a folder of its own, whose ONNX files share their weights."""

import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vtp_export.making.artefact import Order, write_artefact
from vtp_export.models._sizes import AskedSize
from vtp_export.reports.artefact import ExportReport
from vtp_export.runtime.changing import record_files, write_manifest
from vtp_export.runtime.grids import grid_name, write_index
from vtp_export.spec import FileRecord, Manifest

if TYPE_CHECKING:
    from vtp_export.backends._pool import WeightPool

ONNX = "onnx"
POOL = "weights.data"
"""What the ONNX files share."""


def write_grids(order: Order, folder: Path, sizes: Sequence[AskedSize | None]) -> ExportReport:
    """Write an artefact of several grids: one of each in a folder of its own, whose ONNX files share their weights.

    Args:
        order: what was asked for.
        folder: an empty one.
        sizes: at least two, each of another grid.

    Raises:
        VtpError: as `export`.
    """
    reports: dict[str, ExportReport] = {}
    with contextlib.ExitStack() as stack:
        pool = stack.enter_context(_pool(folder)) if ONNX in order.backends else None
        for size in sizes:
            place = folder / "next"
            place.mkdir()
            report = write_artefact(order, place, size)
            if pool is not None:
                _pour(pool, report)
            name = grid_name(report.manifest)
            reports[name] = dataclasses.replace(report, folder=place.rename(folder / name))
    if pool is not None:
        reports = _sharing(folder / POOL, reports)
    write_index(folder, {name: report.manifest for name, report in reports.items()})
    first = next(iter(reports.values()))
    notes = [note for report in reports.values() for note in report.notes]
    return dataclasses.replace(first, folder=folder, notes=tuple(dict.fromkeys(notes)), grids=reports)


def _pool(folder: Path) -> "WeightPool":
    from vtp_export.backends._pool import WeightPool

    return WeightPool(folder / POOL)


def _pour(pool: "WeightPool", report: ExportReport) -> None:
    """Give the pool the weights of an ONNX file; those beside the file go at once: there is room for one grid's."""
    for build in report.manifest.builds:
        if build.format == ONNX:
            pool.take(report.folder / build.main)
            for name in build.files.keys() - {build.main}:
                (report.folder / name).unlink()


def _sharing(pool: Path, reports: Mapping[str, ExportReport]) -> dict[str, ExportReport]:
    """The same, the pool being one of the files of each."""
    from vtp_export.backends._pool import linked

    shared = record_files(pool.parent, [Path(POOL)])
    for report in reports.values():
        linked(pool, report.folder / POOL)
    pool.unlink()
    return {name: dataclasses.replace(one, manifest=_pooled(one, shared)) for name, one in reports.items()}


def _pooled(report: ExportReport, shared: dict[str, FileRecord]) -> Manifest:
    """The manifest, written anew, of an artefact whose ONNX file reads the pool now."""
    builds = []
    for build in report.manifest.builds:
        if build.format == ONNX:
            files = record_files(report.folder, [Path(build.main)]) | shared
            build = dataclasses.replace(build, files=files)
        builds.append(build)
    manifest = dataclasses.replace(report.manifest, builds=tuple(builds))
    write_manifest(report.folder, manifest)
    return manifest
