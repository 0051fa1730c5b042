"""`vtp-export bench`: latency of artefacts side by side, in turns, so that noise of the machine falls on all alike.

With `check=True` every format is proved first, by the golden record, and what cannot run here is told too: one table.
"""

import contextlib
import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vtp_export import rooms
from vtp_export.arguments import one_or_several, whole
from vtp_export.comparing.places import MOST_ROUNDS, WARM_UP, Place, chosen_formats, name_of, note_absent, opened
from vtp_export.comparing.spoken import opened_answerer, same_answers
from vtp_export.errors import SpecError, UnavailableError
from vtp_export.pipeline.check import check as run_check
from vtp_export.progress import Progress, silent
from vtp_export.reports.bench import BenchReport, FormatCheck, SameAnswers, Timing
from vtp_export.reports.check import CheckReport
from vtp_export.runtime.artefact import open_artefact
from vtp_export.runtime.checks import Checked, checked
from vtp_export.runtime.formats import fitting, options_of
from vtp_export.runtime.hub import located
from vtp_export.runtime.images import note
from vtp_export.runtime.output import Run
from vtp_export.runtime.versions import install_bytes, versions

if TYPE_CHECKING:
    from vtp_export.graphs.eager import EagerSession

BASELINE = "onnx"
"""The format that times are compared with where all are checked: most people run ONNX Runtime."""

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
    check: bool = False,
    decoder: str | Path | None = None,
    against: str | Path | None = None,
    device: str | None = None,
    dtype: str = "float32",
    threads: int | None = None,
    options: Mapping[str, Any] | None = None,
    progress: Progress = silent,
) -> BenchReport:
    """Time every contender at every batch size; copies to a device and back are part of the time.

    Args:
        folders: artefacts.
        formats: of every artefact; none for all that can run here.
        batches: batch sizes.
        rounds: timed runs of each.
        check: whether each is checked before, as `check` does it, and what cannot run here is told as well.
        decoder: a folder that `vtp-export decoder` wrote: with `check`, its answers from the tokens of each format are
            held against those from the tokens that were recorded at the export.
        against: a model whose eager, unpruned front end is timed beside them, on the same device.
        device: see `load`.
        dtype: of the eager front end.
        threads: CPU threads of one run, or None for as many as the process may use.
        options: of the formats, see `load`; each is given to the formats that have it.
        progress: hears of every step.

    Raises:
        VtpError: an artefact cannot be opened, or a number is out of range, or, to be checked, it has no golden record.
    """
    folders, batches = [located(folder) for folder in one_or_several(folders)], one_or_several(batches)
    rounds = whole("rounds", rounds, 1, MOST_ROUNDS)
    sizes = _refuse_batches(folders, batches)
    if decoder is not None and not check:
        raise SpecError("a language model is asked where formats are checked; add --check, or leave out --decoder")
    answerer = opened_answerer(decoder, threads)
    answers: dict[Place, SameAnswers] = {}
    chosen, absent = chosen_formats(folders, one_or_several(formats), device)
    own = options_of([fmt for _, fmt in chosen], options)
    on = "" if device in (None, "cpu") else f" on {device}"
    proofs: dict[Place, CheckReport] = {}
    if check:
        how = {"device": device, "threads": threads, "progress": progress}
        proofs = _proofs(chosen, absent, optional=not formats, options=own, how=how)
        chosen = list(proofs)
    else:
        note_absent(absent)
    with contextlib.ExitStack() as stack:
        contenders: Contenders = {}
        for place, session in opened(chosen, stack, own, progress, device=device, threads=threads):
            for sentence in () if check else session.notes:  # a check tells them itself
                note(sentence)
            contenders[name_of(place, on)] = Contender(session.run, checked(session.way))
            if answerer is not None:
                progress(f"answering from {place[1]}")
                answers[place] = same_answers(session, answerer)
        if against is not None:
            progress(f"loading {against}")
            eager = _eager(str(against), folders, device or "cpu", dtype, threads)
            told = "" if dtype == "float32" else f", {dtype}"
            contenders[f"{against} eager, unpruned{told}{on}"] = Contender(eager, None)
            sizes.add(eager.graph.frontend.image_size)
            _refuse_sizes(sizes)
        if not contenders:
            raise SpecError("no artefact was named; give at least one folder")
        compared = [name_of(place, on) for place in chosen if place[1] == BASELINE] if check else [*contenders]
        baseline = compared[0] if compared else None
        rows: list[Timing] = []
        for batch in batches:
            pixels = np.random.default_rng(0).standard_normal((batch, 3, *max(sizes)), dtype=np.float32)
            rows += _timings(contenders, baseline, pixels, rounds, progress)
    return BenchReport(
        timings=tuple(rows),
        baseline=baseline,
        formats=tuple(
            dataclasses.replace(_format_check(one, on, proofs.get(one), absent.get(one)), answers=answers.get(one))
            for one in (*proofs, *absent)
            if check
        ),
    )


def _eager(against: str, folders: Sequence[str | Path], device: str, dtype: str, threads: int | None) -> "EagerSession":
    """A model's unpruned front end; of one of any resolution at that of the artefacts."""
    from vtp_export.comparing.contenders import unpruned  # which loads torch

    like = open_artefact(folders[0]).manifest if folders else None
    return unpruned(against, like, device=device, dtype=dtype, threads=threads).session


def _proofs(
    chosen: Sequence[Place],
    absent: dict[Place, str],
    *,
    optional: bool,
    options: Mapping[str, Any],
    how: Mapping[str, Any],
) -> dict[Place, CheckReport]:
    """What `check` says of each; if all are `optional`, one that turns out not to run here goes to the `absent`."""
    proofs = {}
    for folder, fmt in chosen:
        try:
            proofs[folder, fmt] = run_check(folder, formats=[fmt], options=options[fmt], **how)
        except UnavailableError as error:
            if not optional:
                raise
            absent[folder, fmt] = str(error)
    if not proofs:
        raise UnavailableError("; ".join(absent.values()) or "no artefact was named; give at least one folder")
    return proofs


def _format_check(place: Place, on: str, proof: CheckReport | None, reason: str | None) -> FormatCheck:
    folder, fmt = place
    artefact = open_artefact(folder)
    builds = artefact.builds(fmt)
    packages = rooms.load("backends", fmt).Backend.packages if fmt in rooms.names("backends") else ()
    return FormatCheck(
        name=name_of(place, on),
        obstacle=reason,
        check=proof,
        file_bytes=sum(build.size for build in builds) if proof is None else fitting(artefact, builds).size,
        packages=versions(packages),
        install_bytes=install_bytes(packages),
    )


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


def _timings(
    contenders: Contenders, baseline: str | None, pixels: np.ndarray, rounds: int, progress: Progress
) -> list[Timing]:
    """One call of each in turn, again and again; `baseline` is what the ratios are to."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(WARM_UP + rounds):
        progress(f"timing batch {len(pixels)}", turn, WARM_UP + rounds)
        for name, contender in contenders.items():
            began = time.perf_counter()
            contender.run(pixels)
            seconds[name].append(time.perf_counter() - began)
    rows = []
    base = None if baseline is None else float(np.median(seconds[baseline][WARM_UP:]))
    for name, values in seconds.items():
        low, median, high = (float(v) for v in np.percentile(values[WARM_UP:], [10, 50, 90]))
        rows.append(
            Timing(
                name=name,
                batch=len(pixels),
                median_ms=median * 1e3,
                p10_ms=low * 1e3,
                p90_ms=high * 1e3,
                ratio=None if base is None else median / base,
                checked=contenders[name].checked,
            )
        )
    return rows
