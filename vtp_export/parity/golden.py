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
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vtp_export.errors import ArtefactError, SpecError, first_line, shown
from vtp_export.functional.tokens import KINDS
from vtp_export.json_records import from_json, read_text
from vtp_export.manifests import DTYPES
from vtp_export.parity.contract import breaches
from vtp_export.parity.gates import GATES, Gates
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
    gates: of the precision; a wider one counts for nothing, see `Golden.gates`.
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

    def gates(self, precision: str) -> Gates:
        """What is judged by: no limit is wider than that of the precision here, whatever is recorded."""
        return self.record.gates.stricter(GATES[precision])

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
        ArtefactError: as `read_record`, or the arrays cannot be read, or contradict record or manifest.
    """
    record, folder = read_record(artefact), artefact.folder
    try:
        golden = Golden(record, _arrays(folder / ARRAYS))
    except (OSError, ValueError, MemoryError) as error:
        raise ArtefactError(f"the golden record of '{folder}' cannot be read: {error}; export again") from error
    _refuse(folder, _of_arrays(golden, artefact.manifest))
    return golden


def read_record(artefact: Artefact) -> GoldenRecord:
    """Read the record alone, of files that are all verified.

    Raises:
        ArtefactError: the artefact has no golden record, a file of it is missing or damaged, or it contradicts itself
            or the files that the manifest names.
    """
    manifest, folder = artefact.manifest, artefact.folder
    if not manifest.golden:
        raise ArtefactError(f"the artefact '{folder}' has no golden record; export it again, without --golden 0")
    for name, file in manifest.golden.items():
        verify_file(folder, name, file)
    try:
        text = read_text(folder / RECORD, f"the golden record '{folder / RECORD}'")
    except (OSError, SpecError) as error:
        raise ArtefactError(f"the golden record of '{folder}' cannot be read: {error}; export again") from error
    try:
        record = from_json(GoldenRecord, text, "golden record", GOLDEN_SCHEMA, "export again")
    except SpecError as error:
        raise ArtefactError(f"the golden record of '{folder}' cannot be read: {error}") from error
    _refuse(folder, _of_record(record, manifest))
    return record


def _refuse(folder: Path, contradictions: Iterator[str]) -> None:
    for contradiction in contradictions:  # the first: those after it may be of what the first one denies
        raise ArtefactError(f"the golden record of '{folder}' contradicts its manifest: {contradiction}; export again")


def _arrays(path: Path) -> dict[str, np.ndarray]:
    """Of an archive that anybody may have written.

    Raises:
        ValueError: it cannot be read, or is larger than its file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            stored = all(entry.compress_type == zipfile.ZIP_STORED for entry in entries)
            if not stored or sum(entry.file_size for entry in entries) > path.stat().st_size:
                raise ValueError("it is compressed, or says that it is larger than its file")
            arrays = {}
            for entry in entries:
                with archive.open(entry) as file:
                    arrays[entry.filename.removesuffix(".npy")] = np.lib.format.read_array(file, allow_pickle=False)
            return arrays
    except Exception as error:  # of zipfile, of NumPy's header and of Python's parser, which it asks: of a dozen kinds
        raise ValueError(f"'{path}': {first_line(error)}") from error


def _of_record(record: GoldenRecord, manifest: Manifest) -> Iterator[str]:
    """What cannot be true of it."""
    yield from record.gates.impossible()
    for name, size in record.noise.items():
        if KINDS.get(name, "beside") == "beside" or size < 0:
            yield f"the noise of {shown(name)} is {size:g}; it must be 0 or more, and of a signal that decides"
    counts = Counter(picture.file for picture in record.pictures)
    if any(not 0 <= picture.view < counts[picture.file] for picture in record.pictures):
        yield "a picture has more views than are recorded"
    for what in ("name", "file"):
        views = Counter((getattr(picture, what), picture.view) for picture in record.pictures)
        if twice := [value for (value, _), count in views.items() if count > 1]:
            yield f"two pictures have the {what} {shown(twice[0])}"
    files = {picture.file for picture in record.pictures} | {RECORD, ARRAYS}
    for file in sorted(files ^ manifest.golden.keys()):
        yield f"{shown(file)} is not in both"


def _of_arrays(golden: Golden, manifest: Manifest) -> Iterator[str]:
    """What is missing, or is not what the manifest makes it be."""
    yield from _of_shapes(golden, manifest)
    for name, array in golden.arrays.items():
        if array.dtype not in _dtypes(name):
            yield f"{name} is {array.dtype}, and must be {' or '.join(_dtypes(name))}"
        elif not np.isfinite(array).all():
            yield f"{name} holds a NaN or an infinity"
        elif name.startswith("way.") and (array < 0).any():
            yield f"{name} is below 0"
    pruner, merges, output = manifest.pruner, golden.record.merges, golden.output
    for view, name in enumerate(golden.names):
        for sentence in breaches(output, view, manifest.layout, pruner.ascending, merges):
            yield f"of {shown(name)}, {sentence}"


def _dtypes(name: str) -> tuple[str, ...]:
    if name == "views":
        return ("uint8",)
    kind, _, rest = name.partition(".")
    if kind == "output":  # tokens of a narrow artefact are recorded in float16, see `recording.py`
        return DTYPES[rest]
    return ("float64",) if kind == "way" else ("float32",)


def _of_shapes(golden: Golden, manifest: Manifest) -> list[str]:
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
    return wrong if count else ["it has no pictures"]


def _fits(name: str, shape: tuple[int, ...], count: int, layout: Layout) -> bool:
    kind, _, signal = name.removeprefix("near.").partition(".")
    n = layout.candidates.n
    if signal not in KINDS or not shape or shape[0] != count:
        return False
    if kind == "signal":
        return shape[1:2] == (n,) and len(shape) == (3 if KINDS[signal] == "features" else 2)
    return shape[1:] == {"gram": (n * (n + 1) // 2,), "way": ()}.get(kind)
