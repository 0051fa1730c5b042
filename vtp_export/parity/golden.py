"""The golden record of an artefact: a few pictures and what the eager graph made of them, so that the proof travels.

Read with NumPy and Pillow alone; `recording.py` writes it. In the folder `golden/` of an artefact lie

- the pictures themselves, small, as PNG or JPEG;
- `record.json`, a `GoldenRecord`, sealed;
- `arrays.npz`, not compressed, an axis of pictures before all others:
  `views` (h, w, 3) uint8, the bytes that the model sees; `output.NAME`, empty slots included; what the reference sees:
  `signal.NAME` as it is, or for features of many channels `gram.NAME`, see `gram.py`; and for an artefact in less than
  float32 the same in its precision, `near.signal.NAME` and `near.gram.NAME`, with `way.NAME`, how far apart they lie.
"""

import zipfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vtp_export.errors import ArtefactError, SpecError, shown
from vtp_export.functional.tokens import KINDS
from vtp_export.json_records import from_json, read_text
from vtp_export.parity.gates import Gates
from vtp_export.parity.gram import unpacked
from vtp_export.parity.judge import Start
from vtp_export.parity.witness import Noise
from vtp_export.reference.base import Signals
from vtp_export.runtime.artefact import Artefact, verify_file
from vtp_export.runtime.output import Output
from vtp_export.runtime.tiles import view_names
from vtp_export.spec import Candidates, Layout, Manifest

GOLDEN_SCHEMA = 1
FOLDER = "golden"
RECORD, ARRAYS = f"{FOLDER}/record.json", f"{FOLDER}/arrays.npz"


@dataclass(frozen=True)
class GoldenPicture:
    """A picture's name and file in the artefact, and SHA-256 of the `pixel_values` of one of its views, from 0 on."""

    name: str
    file: str
    pixels_sha256: str
    view: int


@dataclass(frozen=True, kw_only=True)
class GoldenRecord:
    """What is recorded, and how it is to be judged.

    noise: measured, by signal; one that is not finite is left out, and explains nothing.
    gates: of the precision.
    chaotic, merges: of the method, see `pruners/base.py`.
    oracle: whether what the reference sees is recorded; else nothing can explain a difference.
    """

    pictures: tuple[GoldenPicture, ...]
    noise: dict[str, float]
    gates: Gates
    chaotic: bool
    merges: bool
    oracle: bool
    schema: int = GOLDEN_SCHEMA


@dataclass(frozen=True)
class Golden:
    """A record with its arrays, see above."""

    record: GoldenRecord
    arrays: Mapping[str, np.ndarray]

    @property
    def views(self) -> np.ndarray:
        """(v, h, w, 3) uint8."""
        return self.arrays["views"]

    @property
    def names(self) -> list[str]:
        """What the views are called."""
        files = [picture.file for picture in self.record.pictures]
        return [view_names(one.name, files.count(one.file))[one.view] for one in self.record.pictures]

    @property
    def output(self) -> Output:
        """Of the eager graph, in float32."""
        start = "output."
        outputs = {name.removeprefix(start): a for name, a in self.arrays.items() if name.startswith(start)}
        return Output.of({**outputs, "tokens": outputs["tokens"].astype(np.float32)})

    def signals(self, view: int, candidates: Candidates, prefix: str = "") -> Signals:
        """What the reference sees of a picture; what it does not look at is empty."""
        arrays: dict[str, np.ndarray] = {"hidden": np.empty((candidates.n, 0))}
        for name in KINDS:
            if (array := self.arrays.get(f"{prefix}signal.{name}")) is not None:
                arrays[name] = array[view].astype(np.float64)
            elif (half := self.arrays.get(f"{prefix}gram.{name}")) is not None:
                arrays[name] = unpacked(half[view])
        return Signals(candidates=candidates, **arrays)  # type: ignore[arg-type]

    def start(self, view: int, candidates: Candidates) -> Start:
        """The same in the artefact's precision, where that is less than float32."""
        way = {name: float(self.arrays[f"way.{name}"][view]) for name in KINDS if f"way.{name}" in self.arrays}
        return Start(self.signals(view, candidates, "near."), Noise(way))


def read_golden(artefact: Artefact) -> Golden:
    """Read and verify.

    Raises:
        ArtefactError: the artefact has no golden record, a file of it is missing or damaged, or it contradicts the
            manifest.
    """
    manifest, folder = artefact.manifest, artefact.folder
    if not manifest.golden:
        raise ArtefactError(f"the artefact '{folder}' has no golden record; export it again, without --golden 0")
    for name, file in manifest.golden.items():
        verify_file(folder, name, file)
    try:
        text = read_text(folder / RECORD, f"the golden record '{folder / RECORD}'")
        record = from_json(GoldenRecord, text, "golden record", GOLDEN_SCHEMA, "export again")
        golden = Golden(record, _arrays(folder / ARRAYS))
    except (OSError, ValueError, SpecError, MemoryError, zipfile.BadZipFile) as error:
        raise ArtefactError(f"the golden record of '{folder}' cannot be read: {error}; export again") from error
    for contradiction in _contradictions(golden, manifest):
        raise ArtefactError(f"the golden record of '{folder}' contradicts its manifest: {contradiction}; export again")
    return golden


def _arrays(path: Path) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(path) as archive:
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise ValueError(f"'{path}' is compressed")  # as large as its file, or it is not ours
        arrays = {}
        for entry in archive.infolist():
            with archive.open(entry) as file:
                arrays[entry.filename.removesuffix(".npy")] = np.lib.format.read_array(file, allow_pickle=False)
        return arrays


def _contradictions(golden: Golden, manifest: Manifest) -> list[str]:
    """What is missing, or has another shape than the manifest makes it have."""
    count = len(golden.record.pictures)
    shapes = {name: array.shape for name, array in golden.arrays.items()}
    wanted: dict[str, tuple[int, ...]] = {"views": (count, *manifest.layout.image_size, 3)}
    for spec in manifest.outputs:
        wanted[f"output.{spec.name}"] = tuple(count if axis == "b" else int(axis) for axis in spec.shape)
    wrong = [
        f"{name} is {shown(shapes.get(name))}, not {shape}"
        for name, shape in wanted.items()
        if shapes.get(name) != shape
    ]
    wrong += [
        f"{shown(name)} is {shown(shape)}"
        for name, shape in shapes.items()
        if name not in wanted and not _fits(name, shape, count, manifest.layout)
    ]
    if not wrong and (not count or golden.arrays["views"].dtype != np.uint8):
        wrong.append(f"its {count} pictures are {golden.arrays['views'].dtype}, and must be some, of bytes")
    counts = Counter(picture.file for picture in golden.record.pictures)
    if any(not 0 <= picture.view < counts[picture.file] for picture in golden.record.pictures):
        wrong.append("a picture has more views than are recorded")
    files = {picture.file for picture in golden.record.pictures} | {RECORD, ARRAYS}
    wrong += [f"{shown(file)} is not in both" for file in sorted(files ^ manifest.golden.keys())]
    return wrong


def _fits(name: str, shape: tuple[int, ...], count: int, layout: Layout) -> bool:
    kind, _, signal = name.removeprefix("near.").partition(".")
    n = layout.candidates.n
    if signal not in KINDS or not shape or shape[0] != count:
        return False
    if kind == "signal":
        return shape[1:2] == (n,) and len(shape) == (3 if KINDS[signal] == "features" else 2)
    return shape[1:] == {"gram": (n * (n + 1) // 2,), "way": ()}.get(kind)
