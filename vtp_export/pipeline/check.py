"""`vtp-export check`: does the artefact do, on this machine, what the eager graph did at the export? Without torch.

Everything is held against the artefact's golden record: first the pixels that this machine makes of the recorded
pictures, then, from the recorded pixels on, which tokens are kept, their values, erank and attention entropy, judged as
`validate` judges them.
"""

import dataclasses
import functools
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vtp_export.arguments import one_or_several
from vtp_export.errors import ArtefactError, ImageError, OutputError, UnavailableError
from vtp_export.parity.batches import usual_size
from vtp_export.parity.contract import breaches
from vtp_export.parity.golden import Golden, read_golden
from vtp_export.parity.judge import Judge, judge_of
from vtp_export.parity.preprocessing import PixelComparison, difference, pixel_comparison
from vtp_export.parity.tally import Tally
from vtp_export.parity.verdict import Comparison
from vtp_export.parity.witness import Noise
from vtp_export.progress import Progress, silent
from vtp_export.reports.check import CheckReport
from vtp_export.runtime.artefact import Artefact, open_artefact
from vtp_export.runtime.front_end import PrunedArtefact, load, obstacle, options_of
from vtp_export.runtime.images import batched, read_image
from vtp_export.runtime.output import Kept
from vtp_export.runtime.preprocess import pixel_values, values_of
from vtp_export.runtime.versions import version
from vtp_export.spec import Manifest

PIXELS = "preprocessing here against that of the export"
AGAINST = " against the graph at the export"


def check(
    folder: str | Path,
    *,
    formats: Sequence[str] = (),
    device: str | None = None,
    threads: int | None = None,
    options: Mapping[str, Any] | None = None,
    progress: Progress = silent,
) -> CheckReport:
    """Run the pictures of the golden record here, and judge what comes out.

    Args:
        folder: the artefact.
        formats: of the artefact; none for all that can run here.
        device: where it runs, see `load`.
        threads: CPU threads of one run, or None for as many as the process may use.
        options: of the formats, see `load`; each is given to the formats that have it.
        progress: hears of every step.

    Raises:
        ArtefactError: no artefact, damaged, replaced meanwhile, or without a golden record.
        UnavailableError: a format that was named, or none at all, can run here.

    Example:
        >>> check("llava64").passed  # doctest: +SKIP
        True
    """
    artefact = open_artefact(folder)
    golden = read_golden(artefact)
    chosen, notes = _runnable(artefact, formats, device)
    own = options_of(chosen, options)
    progress("comparing the pixels")
    pixels = _pixels(artefact, golden)
    comparisons = []
    for fmt in chosen:
        progress(f"running {fmt}")
        with load(folder, fmt, device=device, threads=threads, options=own[fmt]) as session:
            artefact.refuse_replaced(*artefact.builds(fmt))
            notes += [f"{fmt}: {note}" for note in session.notes]
            comparisons.append(_comparison(fmt, golden, artefact.manifest, session))
    return CheckReport(
        artefact=str(folder),
        pictures=len(golden.record.pictures),
        pixels=pixels,
        comparisons=tuple(comparisons),
        notes=(*notes, *_limits(golden, artefact.manifest, pixels)),
    )


def _runnable(artefact: Artefact, formats: Sequence[str], device: str | None) -> tuple[list[str], list[str]]:
    """Formats to run, and a note for every other one of the artefact."""
    asked = list(dict.fromkeys(one_or_several(formats))) or artefact.manifest.formats()
    for fmt in asked:
        artefact.builds(fmt)
    reasons = {fmt: reason for fmt in asked if (reason := obstacle(artefact, fmt, device))}
    if reasons and (formats or len(reasons) == len(asked)):
        raise UnavailableError("; ".join(reasons.values()))
    if not asked:
        raise ArtefactError(f"the artefact '{artefact.folder}' records no files; export it again")
    notes = [f"{fmt} was not checked: {reason}" for fmt, reason in reasons.items()]
    return [fmt for fmt in asked if fmt not in reasons], notes


def _pixels(artefact: Artefact, golden: Golden) -> PixelComparison:
    prep, differences = artefact.manifest.preprocessing, {}
    for picture, view in zip(golden.record.pictures, golden.views, strict=True):
        recorded = values_of(view[None], prep)
        try:
            made = pixel_values(read_image(artefact.folder / picture.file), prep)
        except ImageError:  # a decoder that this machine's Pillow lacks
            made = None
        differences[picture.name] = difference(made, recorded)
        if differences[picture.name] == 0 and hashlib.sha256(recorded.data).hexdigest() != picture.pixels_sha256:
            differences[picture.name] = np.inf  # the same bytes, and other numbers are made of them
    return pixel_comparison(PIXELS, differences)


def _comparison(fmt: str, golden: Golden, manifest: Manifest, session: PrunedArtefact) -> Comparison:
    """A format, on the recorded pixels: those of this machine have been judged by themselves."""
    record, gates = golden.record, golden.record.gates
    judge = judge_of(manifest.pruner, chaotic=record.chaotic, merges=record.merges)
    if judge.chaotic:  # as in `Trial`
        gates = dataclasses.replace(gates, jaccard=0.0)
    where = "" if session.device == "cpu" else f" on {session.device}"
    tally = Tally(name=f"{fmt}{where}{AGAINST}", noise=Noise(record.noise), gates=gates)
    size = usual_size(manifest.batch, mixing=manifest.precision.activations == "dynamic")
    for views in batched(range(len(golden.views)), size):
        try:
            output = session.run_padded(values_of(golden.views[views], manifest.preprocessing))
        except OutputError as error:
            for i in error.images:
                tally.breach(record.pictures[views[i]].name, [f"'{error.output}' holds a NaN or an infinity"])
            continue
        for place, view in enumerate(views):
            name = record.pictures[view].name
            wrong = breaches(output, place, manifest.layout, manifest.pruner.ascending, record.merges)
            search = not tally.breach(name, wrong) and record.oracle
            _hold(judge, tally, golden, manifest, view, output[place], search)
    return tally.done()


def _hold(judge: Judge, tally: Tally, golden: Golden, manifest: Manifest, view: int, found: Kept, search: bool) -> None:
    candidates = manifest.layout.candidates
    case = judge.case(golden.record.pictures[view].name, golden.signals(view, candidates), golden.output[view])
    near = None if manifest.precision.name == "fp32" else functools.partial(golden.start, view, candidates)
    judge.hold_format(tally, case, found, near, search)


def _limits(golden: Golden, manifest: Manifest, pixels: PixelComparison) -> Iterator[str]:
    """What the check cannot know, and what it did instead."""
    if not pixels.passed:
        there = manifest.versions.get("pillow", "unknown")
        yield (
            f"Pillow is {version('pillow')} here and was {there} at the export; the formats were run on the recorded "
            "pixels, so that their rows say nothing of it"
        )
    if not golden.record.oracle:
        yield (
            f"what {manifest.pruner.name} sees of a picture of this model is too large to travel: tokens are compared "
            "with the recorded ones only, and a difference counts as unexplained; validate can explain it"
        )
    elif golden.record.merges:
        yield (
            "merged tokens are compared with the recorded ones only: where another choice is explained by rounding, "
            "validate sees whether its mixtures are right"
        )
