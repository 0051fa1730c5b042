"""`vtp-export export`: a model and a pruner become an artefact."""

import dataclasses
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vtp_export import rooms
from vtp_export.arguments import by_name, one_or_several, path_of, whole
from vtp_export.backends.base import Backend
from vtp_export.errors import SpecError, UnavailableError, shown
from vtp_export.functional.devices import prepare
from vtp_export.graphs.sizes import sizes_of
from vtp_export.making.artefact import Order, write_artefact
from vtp_export.making.grids import write_grids
from vtp_export.models._sizes import asked_sizes
from vtp_export.parity.originals import originals, shortage
from vtp_export.precision.policy import ACTIVATIONS, Precision
from vtp_export.progress import Progress, silent
from vtp_export.reports.artefact import ExportReport
from vtp_export.runtime.changing import writing
from vtp_export.settings import from_settings, shared_out
from vtp_export.spec import BatchRange


def export(
    model: str | Path,
    out: str | Path,
    *,
    pruner: str = "adaptive",
    keep: int | str | None = None,
    settings: Mapping[str, Any] | None = None,
    formats: Sequence[str] = ("onnx",),
    batch: int | tuple[int, int, int] = (1, 1, 16),
    precision: str | Precision = "fp32",
    calibration: str | Path | Sequence[str | Path] | None = None,
    loop_free: bool = False,
    signals: bool = False,
    golden: int = 8,
    golden_images: str | Path | None = None,
    options: Mapping[str, Any] | None = None,
    packing: Mapping[str, Any] | None = None,
    grid: str | tuple[int, int] | Sequence[str | tuple[int, int]] | None = None,
    image_size: str | tuple[int, int] | Sequence[str | tuple[int, int]] | None = None,
    max_tokens: int | None = None,
    device: str = "cpu",
    threads: int | None = None,
    revision: str | None = None,
    force: bool = False,
    progress: Progress = silent,
) -> ExportReport:
    """Write an artefact, atomically: `out` holds a whole one afterwards, or what it held before.

    Args:
        model: folder, hub id or embedded name.
        out: the artefact's folder.
        pruner: the method, a file of `pruners/`.
        keep: visual tokens to keep, or a share of them ("10%"); None for the pruner's default.
        settings: of the pruner, by name; values or texts.
        formats: files of `backends/`.
        batch: exactly so many images, or smallest, usual and largest batch.
        precision: what the graph computes with: a name, or a `Precision` that says more.
        calibration: a record of `calibrate`; None takes the one that comes with the checkpoint, if there is one. Of
            several each grid takes the one that was made for it.
        loop_free: unroll the rounds of greedy methods in every format, and not only where the format asks for it.
        signals: let files return what the pruner sees to whoever asks, for `explain`; formats that cannot do without.
        golden: pictures of the golden record, by which `check` proves the artefact without torch; 0 writes none.
        golden_images: a benchmark or a folder, of which the first so many are taken; None for photographs that come
            with scikit-image and scikit-learn, or drawn scenes where these are not installed.
        options: of the formats, see `BuildOptions` of their backends; each is given to the formats that have it.
        packing: of a model that sees a picture in several views, how they are cut and joined; see
            `runtime.packing.PackingSettings`.
        grid: of a model of any resolution, what to build for: rows and columns of tokens, "26x46" or two numbers.
            Several make an artefact of several grids: of each one in a folder of its own.
        image_size: the same by the width and height of pictures in pixels, "1280x720" or two numbers.
        max_tokens: of such a model, most tokens of a picture; None for as many as its image processor makes. Alone,
            the largest grids of seven usual shapes, see `models._sizes.SHAPES`.
        device: where torch finds out what may be narrow: "cpu" or "cuda"; the graph is written on the CPU.
        threads: CPU threads of torch, or None for its own choice.
        revision: commit, branch or tag on the hub.
        force: replace the artefact at `out`.
        progress: hears of every step.

    Raises:
        VtpError: the model, the pruner, a format or the folder cannot be used; see `errors`.

    Example:
        >>> report = export("toy", "toy8", keep=8)  # doctest: +SKIP
        >>> report.manifest.layout.slots  # doctest: +SKIP
        8
    """
    started, out = time.perf_counter(), path_of("the artefact", out)
    backends = _backends(one_or_several(formats))
    limits, narrowing, building = _batch_range(batch), _narrowing(precision, backends), _options(options, backends)
    _refuse_signals(signals, backends)
    pictures = originals(golden_images, count := whole("golden", golden, 0))
    chosen, asked = _with_keep(by_name("settings", settings), keep), asked_sizes(grid, image_size, max_tokens)
    order = Order(
        model=model,
        pruner=pruner,
        settings=chosen,
        backends=backends,
        batch=limits,
        precision=narrowing,
        options=building,
        calibrations=() if calibration is None else _paths(one_or_several(calibration)),
        loop_free=loop_free,
        signals=signals,
        pictures=pictures,
        packing=by_name("settings", packing),
        device=device,
        revision=revision,
        progress=progress,
    )
    prepare(device, threads)
    with writing(out, force) as folder:
        sizes = sizes_of(model, revision, asked)
        report = write_artefact(order, folder, sizes[0]) if len(sizes) == 1 else write_grids(order, folder, sizes)
    return dataclasses.replace(
        report,
        folder=out,
        grids={name: dataclasses.replace(one, folder=out / name) for name, one in report.grids.items()},
        total_seconds=time.perf_counter() - started,
        notes=(*report.notes, *shortage(golden_images, count, pictures)),
    )


def _paths(calibrations: Sequence[str | Path]) -> tuple[Path, ...]:
    return tuple(path_of("the calibration record", one) for one in calibrations)


def _backends(formats: Sequence[str]) -> dict[str, Backend]:
    backends: dict[str, Backend] = {name: rooms.load("backends", name).Backend() for name in formats}
    if not backends:
        raise SpecError(f"no format was named; choose from: {', '.join(rooms.names('backends'))}")
    for backend in backends.values():
        if backend.source != "graph" and (reason := backend.missing_to_build()):
            raise UnavailableError(reason)  # built last, so it is asked first
    return backends


def _with_keep(settings: Mapping[str, Any], keep: int | str | None) -> dict[str, Any]:
    if keep is None:
        return dict(settings)
    if "keep" in settings:
        raise SpecError(f"keep is there twice, as {keep} and among the settings as {settings['keep']}; say it once")
    return {**settings, "keep": keep}


def _refuse_signals(asked: bool, backends: Mapping[str, Backend]) -> None:
    if asked and not any(backend.signals for backend in backends.values()):
        able = [name for name in rooms.names("backends") if rooms.load("backends", name).Backend.signals]
        raise SpecError(f"{', '.join(backends)} cannot return signals; formats that can: {', '.join(able)}")


def _batch_range(batch: int | tuple[int, int, int]) -> BatchRange:
    sizes = one_or_several(batch)
    if len(sizes) not in (1, 3):
        raise SpecError(f"batch is {shown(batch)}; it must be one number, or three: MIN, OPT and MAX")
    low, usual, high = (whole("batch", size, 1) for size in (sizes * 3 if len(sizes) == 1 else sizes))
    if not 1 <= low <= usual <= high:
        raise SpecError(f"batch is {low}:{usual}:{high}; it must be MIN:OPT:MAX with 1 <= MIN <= OPT <= MAX")
    return BatchRange(low, usual, high)


def _options(given: Mapping[str, Any] | None, backends: Mapping[str, Backend]) -> dict[str, Any]:
    """The `BuildOptions` of each format."""
    kinds = {name: backend.BuildOptions for name, backend in backends.items()}
    own = shared_out(kinds, given, f"option of building {' or '.join(backends)}")
    return {name: from_settings(kind, own[name], "option") for name, kind in kinds.items()}


def _narrowing(asked: str | Precision, backends: Mapping[str, Backend]) -> Precision:
    """The precision, and the form of int8: what the user says, else the first that every format has."""
    precision = asked if isinstance(asked, Precision) else Precision(name=asked)
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
