"""`vtp-export bench`: latency of artefacts side by side, in turns, so that noise of the machine falls on all alike."""

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vtp_export.errors import SpecError
from vtp_export.progress import Progress, silent
from vtp_export.runtime.artefact import open_artefact
from vtp_export.runtime.front_end import load, obstacle
from vtp_export.runtime.output import Run

WARM_UP = 2


@dataclass(frozen=True)
class BenchSpec:
    """What to time.

    formats: of every artefact, or empty for all that can run here.
    batches: batch sizes.
    rounds: timed runs of each.
    against: a model whose eager, unpruned front end is timed beside them, or None.
    threads: CPU threads of one run, or None for the runtime's choice.
    device: what runs the artefacts; copies to and from a device are part of the time.
    """

    folders: tuple[Path, ...]
    formats: tuple[str, ...] = ()
    batches: tuple[int, ...] = (1,)
    rounds: int = 10
    against: str | None = None
    threads: int | None = None
    device: str | None = None


@dataclass(frozen=True)
class Timing:
    """Milliseconds of one call without preprocessing; `ratio` is the median over that of the first row of the batch."""

    name: str
    batch: int
    median_ms: float
    p10_ms: float
    p90_ms: float
    ratio: float


Contenders = dict[str, Run]


def bench(spec: BenchSpec, progress: Progress = silent) -> list[Timing]:
    """Time every contender at every batch size.

    Raises:
        VtpError: an artefact cannot be opened, or a number is out of range.
    """
    if spec.rounds < 1 or not spec.batches or min(spec.batches) < 1:
        raise SpecError(f"rounds is {spec.rounds} and batch is {list(spec.batches)}; all must be at least 1")
    with contextlib.ExitStack() as stack:
        sizes: set[tuple[int, int]] = set()
        contenders: Contenders = {}
        on = "" if spec.device in (None, "cpu") else f" on {spec.device}"
        for folder in spec.folders:
            for fmt in spec.formats or _runnable(folder, spec.device):
                progress(f"opening {folder} ({fmt})")
                session = stack.enter_context(load(folder, fmt, device=spec.device, threads=spec.threads))
                for note in session.notes:
                    progress(note)
                contenders[f"{folder} {fmt}{on}"] = session.run
                sizes.add(session.manifest.layout.image_size)
        if spec.against is not None:
            progress(f"loading {spec.against}")
            call, size = _eager(spec.against)
            contenders[f"{spec.against} eager, unpruned"] = call
            sizes.add(size)
        if not contenders:
            raise SpecError("no artefact was named; give at least one folder")
        if len(sizes) > 1:
            raise SpecError(f"these take images of different sizes ({sorted(sizes)}); time them in separate runs")
        rows: list[Timing] = []
        for batch in spec.batches:
            pixels = np.random.default_rng(0).standard_normal((batch, 3, *max(sizes)), dtype=np.float32)
            rows += _timings(contenders, pixels, spec.rounds, progress)
        return rows


def _runnable(folder: Path, device: str | None) -> list[str]:
    artefact = open_artefact(folder)
    formats = artefact.manifest.formats()
    return [fmt for fmt in formats if obstacle(artefact, fmt, device) is None] or formats


def _eager(model: str) -> tuple[Run, tuple[int, int]]:
    from vtp_export.graphs.assembly import assemble, load_model
    from vtp_export.graphs.eager import EagerSession

    loaded = load_model(model)
    return EagerSession(assemble(loaded, "none", {}).graph), loaded.frontend.image_size


def _timings(contenders: Contenders, pixels: np.ndarray, rounds: int, progress: Progress) -> list[Timing]:
    """One call of each in turn, again and again."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(WARM_UP + rounds):
        progress(f"timing batch {len(pixels)}", turn, WARM_UP + rounds)
        for name, call in contenders.items():
            began = time.perf_counter()
            call(pixels)
            seconds[name].append(time.perf_counter() - began)
    rows = []
    first = float(np.median(next(iter(seconds.values()))[WARM_UP:]))
    for name, values in seconds.items():
        low, median, high = (float(v) for v in np.percentile(values[WARM_UP:], [10, 50, 90]))
        rows.append(Timing(name, len(pixels), median * 1e3, low * 1e3, high * 1e3, median / first))
    return rows
