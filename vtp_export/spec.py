"""What an artefact says about itself: frozen dataclasses. Standard library only."""

import dataclasses
from dataclasses import dataclass, field
from typing import Literal

from vtp_export.errors import SpecError
from vtp_export.json_records import seal
from vtp_export.resolutions import AnyResolution

MANIFEST_SCHEMA = 2

Scalar = bool | int | float | str | None

PrecisionName = Literal["fp32", "fp16", "bf16", "int8"]
"""What a graph computes with."""

Saliency = Literal["cls", "received"]
"""What a model's saliency is: attention that CLS pays, or that a candidate receives where there is no CLS."""

Newlines = Literal["rows", "none"]
"""After which rows of a picture in tiles the newline vector stands."""

Filling = Literal["fit", "stretch", "grow"]
"""How a picture fills the canvas that tiles are cut from, see `runtime.tiles`."""

Framing = Literal["none", "picture", "tiles"]
"""Text that the language model reads among visual tokens: none, around a picture, or before each tile."""

Activations = Literal["blocks", "static"]
"""Of int8: scales of blocks of channels, found at every run, or one of a tensor, found once on range images."""


@dataclass(frozen=True)
class TensorSpec:
    """Name, dtype (NumPy's name) and shape of a tensor; the batch axis is written "b"."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """From a decoded image to `pixel_values`, as the model's image processor does it.

    The steps, in order: convert to RGB; pad to a square with the mean colour (`pad_to_square`); resize to
    `resize_shortest` pixels on the short edge, or to exactly `resize_exact` (height, width), or not at all
    when both are None; crop the centre to `crop` (height, width), padding with zeros where the image is
    smaller; multiply by `rescale_factor`; subtract `mean` and divide by `std`, per channel.

    pinpoints: where a picture is several views, the canvases (height, width) that tiles are cut from, each a multiple
        of `resize_exact`; see `runtime.tiles`.
    filling: how one of them is chosen and filled; of no meaning where there are none.
    resize_longest: of a filling that grows pictures, what their long edge becomes first, in pixels.
    any_resolution: where a model gives every picture a size of its own, how; a graph has one, `resize_exact`.
    """

    resize_shortest: int | None
    resize_exact: tuple[int, ...] | None
    resample: int
    crop: tuple[int, ...] | None
    rescale_factor: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    pad_to_square: bool = False
    pinpoints: tuple[tuple[int, int], ...] = ()
    filling: Filling = "fit"
    resize_longest: int | None = None
    any_resolution: AnyResolution | None = None


@dataclass(frozen=True, kw_only=True)
class ModelRecord:
    """Which weights: the id or folder as given, hub revision, family, and digest and size of all tensors read.

    saliency: what its attention is.
    """

    id: str
    revision: str | None
    family: str
    weights_sha256: str
    weights_bytes: int
    saliency: Saliency


@dataclass(frozen=True)
class PrunerRecord:
    """Which pruner, with every setting resolved, and for calibrated numbers where they come from.

    ascending: whether `kept` ascends; otherwise it is in the method's own order.
    """

    name: str
    settings: dict[str, Scalar]
    origins: dict[str, str]
    ascending: bool


@dataclass(frozen=True)
class Candidates:
    """What a pruner chooses from: tokens of the language model that stand for one picture, in raster order.

    grid: (rows, columns). cls: whether position 0 is the CLS token, so that cell p of the grid stands at p + 1.

    Example:
        >>> Candidates((16, 36), cls=True).n
        577
    """

    grid: tuple[int, int]
    cls: bool = False

    @property
    def n(self) -> int:
        """How many."""
        rows, columns = self.grid
        return rows * columns + self.cls


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How positions map to the picture, and how many are kept.

    image_size: (height, width) of the pixels that the graph takes. patch: (height, width) of those that one cell of the
    grid covers, the first cell at the top left; pixels beyond the grid are not read. slots: width k of the outputs.
    keep: the budget asked for; less than `slots` where the method keeps more of some images, None where it knows none.
    """

    candidates: Candidates
    image_size: tuple[int, int]
    patch: tuple[int, int]
    keep: int | None
    slots: int

    @property
    def budget(self) -> str:
        """How many are kept, in words.

        Example:
            >>> Layout(candidates=Candidates((9, 9)), image_size=(63, 63), patch=(7, 7), keep=16, slots=25).budget
            'about 16 and at most 25'
        """
        if self.keep is None:
            return "all" if self.slots == self.candidates.n else f"at most {self.slots}"
        return str(self.keep) if self.keep == self.slots else f"about {self.keep} and at most {self.slots}"


@dataclass(frozen=True)
class FileRecord:
    """Size and SHA-256 of one file of the artefact."""

    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class PrecisionRecord:
    """What the graph computes with.

    name: "fp32", "fp16", "bf16" or "int8". activations: of int8, "blocks" or "static"; else None.
    block: of int8 in blocks, how many channels share a scale; else None.
    float32_layers: paths of layers that stay in float32 although the rest is narrower.
    images, count, data_sha256: what the ranges of the layers were measured on; None where none were.
    tokens_dtype: of the output `tokens`.
    files: of int8, the plan by which these layers were chosen, see `precision_plans.py`.
    """

    name: str = "fp32"
    activations: str | None = None
    block: int | None = None
    float32_layers: tuple[str, ...] = ()
    images: str | None = None
    count: int | None = None
    data_sha256: str | None = None
    tokens_dtype: str = "float32"
    files: dict[str, FileRecord] = field(default_factory=dict)


@dataclass(frozen=True)
class BatchRange:
    """Smallest, usual and largest batch the artefact was built for."""

    min: int
    opt: int
    max: int


@dataclass(frozen=True)
class EngineRecord:
    """What a file was compiled for; it runs nowhere else.

    runtime: version of what compiled it, and of what must run it. compute_capabilities: of GPUs, as "8.7"; none for a
    file for the CPU. platform: operating system and machine, as "linux-aarch64", or None where these do not matter.
    device: name of the one it was compiled on, for the reader; None where there was none.
    """

    runtime: str
    compute_capabilities: tuple[str, ...]
    platform: str | None
    device: str | None


@dataclass(frozen=True, kw_only=True)
class Packing:
    """How the views of a picture become the one sequence that the language model reads, see `runtime.packing`.

    newlines: "rows", the newline vector after every row of the picture that kept a token; or "none".
    unpad: whether tokens in the bars beside the picture are dropped.
    tiles: most tiles of a picture that were asked for: larger canvases were left out; None where the model decides.
    anyres_max: the tokens of more tiles than these are shrunk by the model, which pruned tokens cannot be; None where
        it never shrinks them.
    framing: the text among the tokens, see `runtime.framing`.
    files: the newline vector.
    """

    newlines: Newlines
    unpad: bool
    tiles: int | None
    anyres_max: int | None
    framing: Framing
    files: dict[str, FileRecord]


@dataclass(frozen=True)
class Build:
    """What a backend has written: the file that a runtime opens, and all that belongs to it.

    format: the backend's name.
    main: name of the file that is opened.
    files: every file by name, relative to the artefact's folder and with forward slashes; `main` is one of them.
    engine: what it was compiled for; None where it runs anywhere.

    Raises:
        SpecError: `main` is not among the files.
    """

    format: str
    main: str
    files: dict[str, FileRecord]
    engine: EngineRecord | None = None

    def __post_init__(self) -> None:
        if self.main not in self.files:
            names = ", ".join(sorted(self.files)) or "none"
            raise SpecError(f"the build of {self.format} opens '{self.main}', which is not among its files: {names}")

    @property
    def size(self) -> int:
        """Of all its files, in bytes."""
        return sum(record.bytes for record in self.files.values())


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """Everything needed to check, feed and reproduce an artefact. See `docs/artefact.md`.

    signals: what the files of some formats return besides, to whoever asks: see `functional.tokens.Tokens`.
    packing: None where a picture is one view.
    golden: files of the golden record; none where there is no such record.
    """

    model: ModelRecord
    pruner: PrunerRecord
    layout: Layout
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    preprocessing: Preprocessing
    precision: PrecisionRecord
    batch: BatchRange
    versions: dict[str, str]
    signals: tuple[TensorSpec, ...] = ()
    packing: Packing | None = None
    golden: dict[str, FileRecord] = field(default_factory=dict)
    builds: tuple[Build, ...] = ()
    validation: dict[str, dict[str, Scalar]] = field(default_factory=dict)
    schema: int = MANIFEST_SCHEMA

    def identity(self) -> str:
        """SHA-256 of what was promised before anything was built: all but `builds` and `validation`.

        Every file of the artefact may carry it, because it does not depend on them.
        """
        promised = dataclasses.replace(self, builds=(), validation={})
        return seal(dataclasses.asdict(promised))

    def proven(self) -> list[str]:
        """Formats of which a validation that passed is recorded, of this very artefact, not of another manifest's."""
        proof = {"passed": True, "identity": self.identity()}.items()
        return [fmt for fmt, one in self.validation.items() if proof <= one.items()]

    @property
    def shared_files(self) -> dict[str, FileRecord]:
        """What belongs to no single build, besides the golden record: what packing reads, and the precision plan."""
        return self.precision.files | ({} if self.packing is None else self.packing.files)

    def formats(self) -> list[str]:
        """Formats that were built, sorted; one may have several builds, each for a machine of its own."""
        return sorted({build.format for build in self.builds})
