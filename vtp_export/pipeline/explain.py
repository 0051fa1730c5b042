"""`vtp-export explain`: why was each token of a photo kept, and who struck out another? Without torch.

From what the pruner saw: of a picture of the golden record as it was recorded, of any other photo as the artefact
itself returns it, where it was exported with `--signals`.
"""

import dataclasses
import hashlib
from pathlib import Path

import numpy as np

from vtp_export.arguments import kind_of, whole
from vtp_export.errors import ArtefactError, SpecError, VtpError
from vtp_export.parity.explanation import explanation
from vtp_export.parity.golden import Golden, read_golden
from vtp_export.progress import Progress, silent
from vtp_export.reference.base import Signals
from vtp_export.reports.explain import ExplainReport, refuse_unknown_ending, write_picture
from vtp_export.rooms import load as room
from vtp_export.runtime.artefact import Artefact, open_artefact
from vtp_export.runtime.formats import obstacle
from vtp_export.runtime.front_end import load
from vtp_export.runtime.hub import located
from vtp_export.runtime.output import Kept
from vtp_export.runtime.preprocess import pixel_values
from vtp_export.runtime.resolution import stretching
from vtp_export.runtime.writing import refuse_overwriting, refuse_unwritable_file
from vtp_export.spec import Preprocessing


def explain(
    folder: str | Path,
    photo: str | Path,
    *,
    tile: int = 0,
    token: int | None = None,
    out: str | Path | None = None,
    device: str | None = None,
    threads: int | None = None,
    progress: Progress = silent,
) -> ExplainReport:
    """Say why each token was kept.

    Args:
        folder: the artefact.
        photo: an image file, or the name of a picture of the golden record.
        tile: of a photo that is several views to the model: which of them, 0 the whole photo and 1 and up its tiles,
            row by row.
        token: the one to be told of; None for all that were kept.
        out: a picture of it, .png, or a page, .html.
        device: where the artefact runs, see `load`.
        threads: CPU threads of one run.
        progress: hears of every step.

    Raises:
        ArtefactError: nobody knows what the pruner saw: the artefact returns no signals, and the photo is no picture
            of its golden record.
        SpecError: there is no such token, or no such tile.
        VtpError: the artefact, the photo, or the place to write to cannot be used.
    """
    if out is not None:
        refuse_unknown_ending(Path(out))
        refuse_unwritable_file(Path(out))
    artefact = open_artefact(located(folder))
    if out is not None:
        refuse_overwriting([Path(out)], [Path(photo), *artefact.paths()])
    manifest = artefact.manifest
    if token is not None:
        token = whole("token", token, 0, manifest.layout.candidates.n - 1)
    if kind_of("the photo", photo) == "folder":
        raise SpecError(f"'{photo}' is a folder; name one photo")
    tile = whole("tile", tile, 0)
    source = _recorded(artefact, str(photo), tile)
    if source is None and not manifest.signals:
        raise ArtefactError(
            f"'{folder}' was exported without --signals, so that nobody knows what the pruner sees of '{photo}'; "
            "export again with them, or name a picture of its golden record"
        )
    if source is None:
        progress("running")
        source = _ran(artefact, Path(photo), tile, device, threads)
    signals, kept, path = source
    progress("deciding again")
    signals = dataclasses.replace(signals, complexity=kept.complexity)
    report = ExplainReport(
        artefact=str(folder),
        proven=bool(manifest.proven()),
        photo=str(photo),
        tile=tile,
        pruner=manifest.pruner.name,
        complexity=kept.complexity,
        token=token,
        explanation=explanation(manifest.pruner, signals, kept),
    )
    if out is not None:
        write_picture(report, path, manifest, Path(out))
    return report


def _recorded(artefact: Artefact, photo: str, tile: int) -> tuple[Signals, Kept, Path] | None:
    """What the golden record tells of a picture, by its name or by its pixels; None where it tells nothing of it."""
    if not artefact.manifest.golden:
        return None
    golden = read_golden(artefact)
    view = _view(golden, artefact, photo, tile)
    if view is None:
        return None
    if not golden.record.oracle:
        name = artefact.manifest.pruner.name
        raise ArtefactError(f"what {name} sees of '{photo}' was too large for the golden record; export with --signals")
    path = artefact.folder / golden.record.pictures[view].file
    return golden.signals(view, artefact.manifest.layout.candidates), golden.output[view], path


def _view(golden: Golden, artefact: Artefact, photo: str, tile: int) -> int | None:
    pictures = golden.record.pictures
    named = [view for view, one in enumerate(pictures) if one.name == photo and one.view == tile]
    if named and not Path(photo).exists():
        return named[0]
    if artefact.manifest.signals:  # the run itself tells
        return None
    pixels = _pixels(Path(photo), tile, stretching(artefact.manifest.preprocessing))  # as they were recorded
    digest = hashlib.sha256(pixels.data).hexdigest()
    return next((view for view, picture in enumerate(pictures) if picture.pixels_sha256 == digest), None)


def _pixels(photo: Path, tile: int, prep: Preprocessing) -> np.ndarray:
    """(1, 3, h, w) of one view."""
    pixels: np.ndarray = pixel_values(photo, prep, [str(photo)])
    if tile >= len(pixels):
        views = (
            f"0, the whole photo, to {len(pixels) - 1}" if len(pixels) > 1 else "0: a photo is one view to the model"
        )
        raise SpecError(f"there is no tile {tile} of '{photo}'; it must be {views}")
    return pixels[tile : tile + 1]


def _ran(
    artefact: Artefact, photo: Path, tile: int, device: str | None, threads: int | None
) -> tuple[Signals, Kept, Path]:
    """Run the photo through the first format that returns signals and runs here."""
    manifest = artefact.manifest
    formats = [fmt for fmt in manifest.formats() if room("backends", fmt).Backend.signals]
    if not formats:
        raise ArtefactError(f"no format of '{artefact.folder}' returns signals; export it again with ONNX or OpenVINO")
    fmt = next((fmt for fmt in formats if obstacle(artefact, fmt, device) is None), formats[0])
    with load(artefact.folder, fmt, device=device, threads=threads, signals=True) as session:
        pixels = _pixels(photo, tile, session.preprocessing)
        pixels = np.concatenate([pixels] * manifest.batch.min)
        output, signals = session.see(pixels)
    arrays = {"hidden": np.empty((manifest.layout.candidates.n, 0)), **{k: v[0] for k, v in signals.items()}}
    try:
        return Signals(candidates=manifest.layout.candidates, **arrays), output[0], photo
    except TypeError as error:
        raise VtpError(f"the artefact '{artefact.folder}' returns signals that are not known here: {error}") from error
