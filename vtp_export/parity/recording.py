"""Write the golden record, see `golden.py`: run the eager graph on a few pictures, and keep what judging it takes."""

import contextlib
import dataclasses
import hashlib
import math
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from vtp_export import rooms
from vtp_export.errors import ImageError, OutputError
from vtp_export.functional.tokens import KINDS, Tokens
from vtp_export.graphs.eager import EagerSession
from vtp_export.json_records import to_json
from vtp_export.parity.gates import GATES
from vtp_export.parity.golden import ARRAYS, FOLDER, RECORD, GoldenPicture, GoldenRecord
from vtp_export.parity.gram import packed
from vtp_export.parity.noise import deviation, signals_of, tower_noise
from vtp_export.parity.originals import Original
from vtp_export.progress import Progress, silent
from vtp_export.reference.base import Signals, by_channel
from vtp_export.reference.erank import complexity_of
from vtp_export.runtime.changing import record_files
from vtp_export.runtime.images import read_image
from vtp_export.runtime.output import Output
from vtp_export.runtime.preprocess import model_views, values_of
from vtp_export.runtime.resolution import stretching
from vtp_export.spec import FileRecord, Manifest, PrunerRecord

NOISE_PICTURES = 4
"""Run again to measure the noise, as in `validate`."""

MOST_BYTES = 1 << 20
"""Of one signal of one picture that is recorded as it is."""

WIDEST = float(np.finfo(np.float16).max)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Seen:
    """A picture, the bytes that the model sees of it, and what the graph makes of them."""

    picture: GoldenPicture
    view: np.ndarray
    pixels: np.ndarray
    tokens: Tokens
    output: Output


def write_golden(
    folder: Path,
    pictures: Sequence[Original],
    eager: EagerSession,
    twin: EagerSession | None,
    manifest: Manifest,
    progress: Progress = silent,
) -> tuple[dict[str, FileRecord], tuple[str, ...]]:
    """Write `golden/`.

    Args:
        folder: of the artefact.
        pictures: those that are recorded, whole, until there are as many views; one that the model cannot use is left
            out, with a note.
        eager: the graph in float32.
        twin: the graph in the artefact's precision, where that is another.
        manifest: all that is known before anything is built.
        progress: told of every picture.

    Returns:
        Its files, none where no picture can be used, and notes.
    """
    views, notes = [], []
    for i, original in enumerate(pictures):
        progress("recording what the graph makes of pictures", i, len(pictures))
        try:
            views += _seen(folder, f"{FOLDER}/{i:02d}{original.ending}", original, eager, manifest)
        except (ImageError, OutputError) as error:
            notes.append(f"the golden record does without '{original.name}': {error}")
        if len(views) >= len(pictures):  # as many views as pictures were asked for
            break
    if not views:
        with contextlib.suppress(FileNotFoundError):
            (folder / FOLDER).rmdir()
        return {}, tuple(notes)
    few = views[:NOISE_PICTURES]
    noise = tower_noise(eager, np.concatenate([one.pixels for one in few]), [one.tokens for one in few], twin)
    method = eager.graph.pruner.method
    signals = _what_the_oracle_sees(manifest.pruner, views, eager, twin)
    record = GoldenRecord(
        pictures=tuple(one.picture for one in views),
        noise={name: size for name, size in noise.sizes.items() if math.isfinite(size)},
        gates=GATES[manifest.precision.name],
        chaotic=method.chaotic,
        merges=method.merges,
        oracle=signals is not None,
    )
    outputs = Output.joined([one.output for one in views]).arrays()
    if twin is not None and np.abs(outputs["tokens"]).max() <= WIDEST:  # its gates are 20 times as wide as the rounding
        outputs["tokens"] = outputs["tokens"].astype(np.float16)
    arrays = {"views": np.stack([one.view for one in views])}
    arrays |= {f"output.{name}": array for name, array in outputs.items()} | (signals or {})
    _save(folder / ARRAYS, arrays)
    (folder / RECORD).write_text(to_json(record), encoding="utf-8")
    files = [Path(name) for name in (RECORD, ARRAYS, *(one.picture.file for one in views))]
    return record_files(folder, files), tuple(notes)


def _seen(folder: Path, file: str, original: Original, eager: EagerSession, manifest: Manifest) -> list[_Seen]:
    """Every view of a picture."""
    path = folder / file
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(original.content)
    try:
        views, seen = model_views(read_image(path), stretching(manifest.preprocessing)), []
        for i in range(len(views)):
            pixels = values_of(views[i : i + 1], manifest.preprocessing)
            if pixels.shape[2:] != manifest.layout.image_size:
                raise ImageError(f"its pixels are {pixels.shape[2:]} and the model takes {manifest.layout.image_size}")
            tokens = eager.encode(pixels)
            output = _measured(eager.finish(tokens), signals_of(tokens, 0, manifest.layout.candidates), manifest.pruner)
            picture = GoldenPicture(original.name, file, hashlib.sha256(pixels.data).hexdigest(), i)
            seen.append(_Seen(picture=picture, view=views[i], pixels=pixels, tokens=tokens, output=output))
    except (ImageError, OutputError):
        path.unlink()
        raise
    return seen


def _measured(output: Output, signals: Signals, pruner: PrunerRecord) -> Output:
    """The same with erank and entropy as the reference measures them: no format is to be held to another's rounding."""
    names = [name for name in ("erank", "attention_entropy") if getattr(output, name) is not None]
    if not names:
        return output
    exact = np.array([complexity_of(signals, pruner.settings)], dtype=np.float32)
    return dataclasses.replace(output, **dict.fromkeys(names, exact))


def _what_the_oracle_sees(
    pruner: PrunerRecord, views: Sequence[_Seen], eager: EagerSession, twin: EagerSession | None
) -> dict[str, np.ndarray] | None:
    """Signals of all pictures, or None where they are too large to travel."""
    candidates = eager.graph.frontend.candidates
    true = [signals_of(one.tokens, 0, candidates) for one in views]
    known = dataclasses.replace(true[0], complexity=views[0].output[0].complexity)
    read = _read_by(pruner, known)
    arrays = _recorded("", read, true, pruner)
    if arrays is None or twin is None:
        return arrays
    others = [twin.encode(one.pixels) for one in views]
    near = _recorded("near.", read, [signals_of(other, 0, candidates) for other in others], pruner)
    assert near is not None  # of the same sizes
    ways = [deviation(one.tokens, other).sizes for one, other in zip(views, others, strict=True)]
    return arrays | near | {f"way.{name}": np.array([way[name] for way in ways]) for name in ways[0]}


def _recorded(
    prefix: str, read: Sequence[str], signals: Sequence[Signals], pruner: PrunerRecord
) -> dict[str, np.ndarray] | None:
    arrays = {}
    for name in read:
        values = [np.asarray(getattr(one, name)) for one in signals]
        n, *width = values[0].shape
        if KINDS[name] != "features" or width[0] <= (n + 1) / 2:  # no larger than the half of a Gram matrix
            arrays[f"{prefix}signal.{name}"] = np.stack(values).astype(np.float32)
        elif not by_channel(pruner.name):
            arrays[f"{prefix}gram.{name}"] = np.stack([packed(one) for one in values])
        elif 4 * values[0].size <= MOST_BYTES:
            arrays[f"{prefix}signal.{name}"] = np.stack(values).astype(np.float32)
        else:
            return None
    return arrays


def _read_by(pruner: PrunerRecord, signals: Signals) -> list[str]:
    """Names of the signals that the reference looks at, when it is told the complexity."""
    names: set[str] = set()

    class Watched(Signals):
        def __getattribute__(self, name: str) -> object:
            names.add(name)
            return super().__getattribute__(name)

    rooms.load("reference", pruner.name).select(Watched(**vars(signals)), pruner.settings)
    return sorted(name for name in names & KINDS.keys() if KINDS[name] != "beside")


def _save(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """As `numpy.savez`, and the same bytes whenever it is written."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.ascontiguousarray(array), allow_pickle=False)
