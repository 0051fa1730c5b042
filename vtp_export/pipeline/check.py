"""`vtp-export check`: does the artefact do, on this machine, what the eager graph did at the export? Without torch.

Everything is held against the artefact's golden record: first the pixels that this machine makes of the recorded
pictures, then, from the recorded pixels on, which tokens are kept, their values, erank and attention entropy, judged as
`validate` judges them, in batches of several sizes. What was found is remembered on this machine, see `runtime.checks`.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vtp_export.arguments import one_or_several, path_of
from vtp_export.errors import ArtefactError, ImageError, SpecError, UnavailableError
from vtp_export.parity.golden import Golden, read_golden
from vtp_export.parity.preprocessing import PixelComparison, difference, pixel_comparison
from vtp_export.parity.proof import Proof
from vtp_export.progress import Progress, silent
from vtp_export.reports.check import CheckReport, JudgedFile, report_check
from vtp_export.reports.page import report_folder
from vtp_export.runtime.artefact import Artefact, open_artefact
from vtp_export.runtime.checks import remember
from vtp_export.runtime.foreign import format_of, load_file, record_of
from vtp_export.runtime.formats import obstacle, options_of
from vtp_export.runtime.front_end import PrunedArtefact, load
from vtp_export.runtime.hub import located, told_name
from vtp_export.runtime.images import read_image
from vtp_export.runtime.preprocess import pixel_values, values_of
from vtp_export.runtime.resolution import stretching
from vtp_export.runtime.versions import version
from vtp_export.spec import BatchRange, Manifest

PIXELS = "preprocessing here against that of the export"


def check(
    folder: str | Path,
    *,
    formats: Sequence[str] = (),
    model: str | Path | None = None,
    device: str | None = None,
    threads: int | None = None,
    options: Mapping[str, Any] | None = None,
    report: str | Path | None = None,
    progress: Progress = silent,
) -> CheckReport:
    """Run the pictures of the golden record here, and judge what comes out.

    Args:
        folder: the artefact.
        formats: of the artefact; none for all that can run here. Of a `model`, its one format, if its name does not
            tell.
        model: a file that another tool made of one of the artefact's, judged in the place of these.
        device: where it runs, see `load`.
        threads: CPU threads of one run, or None for as many as the process may use.
        options: of the formats, see `load`; each is given to the formats that have it.
        report: folder of a page with the gates, the worst cases and pictures of what was kept, or None.
        progress: hears of every step.

    Raises:
        ArtefactError: no artefact, damaged, replaced meanwhile, or without a golden record; the model is no file, or
            takes or returns something else than the artefact.
        UnavailableError: a format that was named, or none at all, can run here; what writes a page is not installed.

    Example:
        >>> check("llava64").passed  # doctest: +SKIP
        True
    """
    page, folder = report_folder(report), located(folder)
    artefact = open_artefact(folder)
    golden = read_golden(artefact)
    formats = one_or_several(formats)
    file = None if model is None else _judged(path_of("the file to be checked", model), formats)
    chosen, notes = _runnable(artefact, formats, device) if file is None else ([file.format], [])
    own = options_of(chosen, options)
    progress("comparing the pixels")
    pixels = _pixels(artefact, golden)
    proofs = []
    for fmt in chosen:
        progress(f"running {fmt if file is None else file.path}")
        with _opened(artefact, file, fmt, device=device, threads=threads, options=own[fmt]) as session:
            name = fmt if file is None else Path(file.path).name
            proofs.append(_proof(golden, session, name if session.device == "cpu" else f"{name} on {session.device}"))
            notes += [f"{name}: {note}" for note in _told(session, proofs[-1], artefact.manifest.batch)]
            if file is None:
                remember(session.way, pixels.passed and proofs[-1].passed)
    result = CheckReport(
        artefact=told_name(folder),
        file=file,
        pictures=len(golden.record.pictures),
        pixels=pixels,
        comparisons=tuple(proof.done() for proof in proofs),
        batches=tuple(batches for proof in proofs if (batches := proof.batches()) is not None),
        notes=(*notes, *_limits(golden, artefact.manifest, pixels, file)),
    )
    return result if page is None else report_check(result, artefact, golden, page, progress)


def _judged(path: Path, formats: Sequence[str]) -> JudgedFile:
    if len(formats) > 1:
        raise SpecError(f"'{path}' is one file, of one format, and {len(formats)} were named: {', '.join(formats)}")
    record = record_of(path)
    return JudgedFile(str(path), formats[0] if formats else format_of(path), record)


def _opened(artefact: Artefact, file: JudgedFile | None, fmt: str, **how: Any) -> PrunedArtefact:
    """A format of the artefact, or the file in its place."""
    if file is not None:
        return load_file(artefact, Path(file.path), fmt, **how)
    session = load(artefact.folder, fmt, **how)
    try:
        artefact.refuse_replaced(*artefact.builds(fmt))
    except ArtefactError:
        session.close()
        raise
    return session


def _proof(golden: Golden, session: PrunedArtefact, name: str) -> Proof:
    proof = Proof(golden, session.manifest, name)
    proof.run(session)
    return proof


def _told(session: PrunedArtefact, proof: Proof, batch: BatchRange) -> Iterator[str]:
    """What the user should know of a session."""
    yield from session.notes
    if session.manifest.batch != batch:
        yield "it takes single images only, and was judged by these"
    if (rounding := proof.rounding()) is not None:
        yield rounding


def _runnable(artefact: Artefact, formats: Sequence[str], device: str | None) -> tuple[list[str], list[str]]:
    """Formats to run, and a note for every other one of the artefact."""
    asked = list(dict.fromkeys(formats)) or artefact.manifest.formats()
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
    prep, differences = stretching(artefact.manifest.preprocessing), {}
    for name, picture, view in zip(golden.names, golden.record.pictures, golden.views, strict=True):
        recorded = values_of(view[None], prep)
        try:
            made = pixel_values(read_image(artefact.folder / picture.file), prep)[picture.view :][:1]
        except ImageError:  # a decoder that this machine's Pillow lacks
            made = None
        differences[name] = difference(made, recorded)
        if differences[name] == 0 and hashlib.sha256(recorded.data).hexdigest() != picture.pixels_sha256:
            differences[name] = np.inf  # the same bytes, and other numbers are made of them
    return pixel_comparison(PIXELS, differences)


def _limits(golden: Golden, manifest: Manifest, pixels: PixelComparison, file: JudgedFile | None) -> Iterator[str]:
    """What the check cannot know, and what it did instead."""
    if golden.gates(manifest.precision.name) != golden.record.gates:
        yield f"the golden record has wider limits than {manifest.precision.name} has here; it is judged by these"
    if file is not None:
        yield f"'{file.path}' is judged by the limits of {manifest.precision.name}, as the artefact's own files are"
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
