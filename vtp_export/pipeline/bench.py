"""`vtp-export bench`: latency of artefacts side by side, in turns, so that noise of the machine falls on all alike."""

import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vtp_export.arguments import one_or_several, whole
from vtp_export.errors import SpecError
from vtp_export.progress import Progress, silent
from vtp_export.reports.results import Timing
from vtp_export.runtime.artefact import open_artefact
from vtp_export.runtime.checks import Checked, checked
from vtp_export.runtime.formats import obstacle, options_of
from vtp_export.runtime.front_end import load
from vtp_export.runtime.images import note
from vtp_export.runtime.output import Run

WARM_UP = 2
MOST_ROUNDS = 1_000_000
MOST_IMAGES = 65_536
"""In a batch where no artefact says how many it takes: 89 GB of pixels."""


@dataclass(frozen=True)
class Contender:
    """What is timed, and what its last `check` on this machine came to; None for what is no artefact."""

    run: Run
    checked: Checked | None


Contenders = dict[str, Contender]


def bench(
    folders: Sequence[str | Path],
    *,
    formats: Sequence[str] = (),
    batches: Sequence[int] = (1,),
    rounds: int = 10,
    against: str | Path | None = None,
    device: str | None = None,
    dtype: str = "float32",
    threads: int | None = None,
    options: Mapping[str, Any] | None = None,
    progress: Progress = silent,
) -> list[Timing]:
    """Time every contender at every batch size; copies to a device and back are part of the time.

    Args:
        folders: artefacts.
        formats: of every artefact; none for all that can run here.
        batches: batch sizes.
        rounds: timed runs of each.
        against: a model whose eager, unpruned front end is timed beside them, on the same device.
        device: see `load`.
        dtype: of the eager front end.
        threads: CPU threads of one run, or None for as many as the process may use.
        options: of the formats, see `load`; each is given to the formats that have it.
        progress: hears of every step.

    Raises:
        VtpError: an artefact cannot be opened, or a number is out of range.
    """
    folders, batches = one_or_several(folders), one_or_several(batches)
    rounds = whole("rounds", rounds, 1, MOST_ROUNDS)
    sizes = _refuse_batches(folders, batches)
    with contextlib.ExitStack() as stack:
        contenders: Contenders = {}
        on = "" if device in (None, "cpu") else f" on {device}"
        chosen = [(folder, fmt) for folder in folders for fmt in one_or_several(formats) or _runnable(folder, device)]
        own = options_of([fmt for _, fmt in chosen], options)
        for folder, fmt in chosen:
            progress(f"opening {folder} ({fmt})")
            session = stack.enter_context(load(folder, fmt, device=device, threads=threads, options=own[fmt]))
            for sentence in session.notes:
                note(sentence)
            contenders[f"{folder} {fmt}{on}"] = Contender(session.run, checked(session.way))
        if against is not None:
            progress(f"loading {against}")
            call, size = _eager(str(against), device or "cpu", dtype, threads)
            contenders[f"{against} eager, unpruned{'' if dtype == 'float32' else f', {dtype}'}{on}"] = Contender(
                call, None
            )
            sizes.add(size)
            _refuse_sizes(sizes)
        if not contenders:
            raise SpecError("no artefact was named; give at least one folder")
        rows: list[Timing] = []
        for batch in batches:
            pixels = np.random.default_rng(0).standard_normal((batch, 3, *max(sizes)), dtype=np.float32)
            rows += _timings(contenders, pixels, rounds, progress)
        return rows


def _refuse_batches(folders: Sequence[str | Path], batches: Sequence[int]) -> set[tuple[int, int]]:
    """Before anything is opened; returns the sizes of the images that the artefacts take."""
    manifests = [open_artefact(folder).manifest for folder in folders]
    if not batches:
        raise SpecError("no batch was named; give at least one size")
    low, high = (
        max([1, *(one.batch.min for one in manifests)]),
        min([MOST_IMAGES, *(one.batch.max for one in manifests)]),
    )
    if low > high:
        raise SpecError("these take no batch in common; time them in separate runs")
    for batch in batches:
        whole("batch", batch, low, high)
    sizes = {manifest.layout.image_size for manifest in manifests}
    _refuse_sizes(sizes)
    return sizes


def _refuse_sizes(sizes: set[tuple[int, int]]) -> None:
    if len(sizes) > 1:
        raise SpecError(f"these take images of different sizes ({sorted(sizes)}); time them in separate runs")


def _runnable(folder: str | Path, device: str | None) -> list[str]:
    artefact = open_artefact(folder)
    formats = artefact.manifest.formats()
    obstacles = {fmt: obstacle(artefact, fmt, device) for fmt in formats}
    if None not in obstacles.values():
        return formats  # the first that is opened says why not
    for fmt, reason in obstacles.items():
        if reason is not None:
            note(f"{folder}: {fmt} is left out: {reason}")
    return [fmt for fmt in formats if obstacles[fmt] is None]


def _eager(model: str, device: str, dtype: str, threads: int | None) -> tuple[Run, tuple[int, int]]:
    from vtp_export.functional.devices import prepare
    from vtp_export.graphs.assembly import assemble, load_model
    from vtp_export.graphs.eager import EagerSession
    from vtp_export.precision.lowering import loaded_in

    prepare(device, threads)
    loaded = loaded_in(load_model(model), dtype)
    return EagerSession(assemble(loaded, "none", {}).graph, device), loaded.frontend.image_size


def _timings(contenders: Contenders, pixels: np.ndarray, rounds: int, progress: Progress) -> list[Timing]:
    """One call of each in turn, again and again."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(WARM_UP + rounds):
        progress(f"timing batch {len(pixels)}", turn, WARM_UP + rounds)
        for name, contender in contenders.items():
            began = time.perf_counter()
            contender.run(pixels)
            seconds[name].append(time.perf_counter() - began)
    rows = []
    first = float(np.median(next(iter(seconds.values()))[WARM_UP:]))
    for name, values in seconds.items():
        low, median, high = (float(v) for v in np.percentile(values[WARM_UP:], [10, 50, 90]))
        rows.append(
            Timing(
                name=name,
                batch=len(pixels),
                median_ms=median * 1e3,
                p10_ms=low * 1e3,
                p90_ms=high * 1e3,
                ratio=median / first,
                checked=contenders[name].checked,
            )
        )
    return rows
