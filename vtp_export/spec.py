"""What an artefact and a calibration say about themselves: dataclasses and their JSON. Standard library only.

Every value is a frozen dataclass; JSON has sorted keys; an unknown, missing or ill-typed key is an error
that names its place, so that a manifest of another tool or of another version is never half understood.
"""

import dataclasses
import hashlib
import json
import types
import typing
from dataclasses import dataclass, field
from typing import Any, Literal

from vtp_export.errors import SpecError

SCHEMA = 1

Scalar = bool | int | float | str | None

PrecisionName = Literal["fp32", "fp16", "bf16", "int8"]
"""What a graph computes with."""

Activations = Literal["dynamic", "static"]
"""Of int8: scales found at every run, or once on calibration images."""


@dataclass(frozen=True)
class TensorSpec:
    """Name, dtype (NumPy's name) and shape of a tensor; the batch axis is written "b"."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True)
class Preprocessing:
    """From a decoded image to `pixel_values`, as the model's image processor does it.

    The steps, in order: convert to RGB; pad to a square with the mean colour (`pad_to_square`); resize to
    `resize_shortest` pixels on the short edge, or to exactly `resize_exact` (height, width), or not at all
    when both are None; crop the centre to `crop` (height, width), padding with zeros where the image is
    smaller; multiply by `rescale_factor`; subtract `mean` and divide by `std`, per channel.
    """

    resize_shortest: int | None
    resize_exact: tuple[int, ...] | None
    resample: int
    crop: tuple[int, ...] | None
    rescale_factor: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    pad_to_square: bool = False


@dataclass(frozen=True)
class ModelRecord:
    """Which weights: the id or folder as given, hub revision, family, and the digest of the tensors read."""

    id: str
    revision: str | None
    family: str
    weights_sha256: str
    weights_bytes: int


@dataclass(frozen=True)
class PrunerRecord:
    """Which pruner, with every setting resolved, and for calibrated numbers where they come from."""

    name: str
    settings: dict[str, Scalar]
    origins: dict[str, str]


@dataclass(frozen=True)
class Layout:
    """How candidate positions map to the image.

    `grid` is (rows, columns) of patches in raster order. With `cls_candidate` position 0 is the CLS token and
    patch p stands at position p + 1. `keep` is the width k of the outputs.
    """

    grid: tuple[int, ...]
    cls_candidate: bool
    n_tokens: int
    keep: int


@dataclass(frozen=True)
class PrecisionRecord:
    """What the graph computes with.

    name: "fp32", "fp16", "bf16" or "int8". activations: of int8, "dynamic" or "static"; else None.
    float32_layers: paths of layers that stay in float32 although the rest is narrower.
    images, count, data_sha256: what the ranges of the layers were measured on; None where none were.
    tokens_dtype: of the output `tokens`.
    """

    name: str = "fp32"
    activations: str | None = None
    float32_layers: tuple[str, ...] = ()
    images: str | None = None
    count: int | None = None
    data_sha256: str | None = None
    tokens_dtype: str = "float32"


@dataclass(frozen=True)
class BatchRange:
    """Smallest, usual and largest batch the artefact was built for."""

    min: int
    opt: int
    max: int


@dataclass(frozen=True)
class FileRecord:
    """Size and SHA-256 of one file of the artefact, and the format it belongs to."""

    format: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class EngineRecord:
    """What a file was compiled on, and therefore for; it runs nowhere else.

    runtime: version of what compiled it. compute_capability: of the GPU, as "8.7", or None for a file for the CPU.
    platform: operating system and machine, as "linux-aarch64". device: its name, for the reader.
    """

    runtime: str
    compute_capability: str | None
    platform: str
    device: str


@dataclass(frozen=True)
class Manifest:
    """Everything needed to check, feed and reproduce an artefact. See `docs/artefact.md`."""

    model: ModelRecord
    pruner: PrunerRecord
    layout: Layout
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    preprocessing: Preprocessing
    precision: PrecisionRecord
    batch: BatchRange
    versions: dict[str, str]
    files: dict[str, FileRecord] = field(default_factory=dict)
    engines: dict[str, EngineRecord] = field(default_factory=dict)
    validation: dict[str, dict[str, Scalar]] = field(default_factory=dict)
    schema: int = SCHEMA

    def identity(self) -> str:
        """SHA-256 of what was promised before anything was built: all but `files`, `engines` and `validation`.

        Every file of the artefact may carry it, because it does not depend on them.
        """
        promised = dataclasses.replace(self, files={}, engines={}, validation={})
        return hashlib.sha256(to_json(promised).encode()).hexdigest()

    def formats(self) -> list[str]:
        """Formats with files here, sorted."""
        return sorted({record.format for record in self.files.values()})


@dataclass(frozen=True)
class Distribution:
    """One number over a data set.

    quantiles: by their share, "0.05" to "0.95". histogram: counts between neighbours of `edges`.
    """

    mean: float
    std: float
    min: float
    max: float
    quantiles: dict[str, float]
    edges: tuple[float, ...]
    histogram: tuple[int, ...]


@dataclass(frozen=True)
class CalibrationRecord:
    """The complexity of a data set's images as one model sees them.

    weights_sha256: digest of the model's tensors, as in `ModelRecord`. data_sha256: over names and pixel values.
    erank: of the projected features less their mean; erank_uncentred: of the features as they are.
    correlation: Pearson's, of erank and attention entropy; None where one of them does not vary.
    """

    model_id: str
    weights_sha256: str
    data: str
    images: int
    data_sha256: str
    erank: Distribution
    erank_uncentred: Distribution
    attention_entropy: Distribution
    correlation: float | None
    versions: dict[str, str]
    schema: int = SCHEMA

    @property
    def source(self) -> str:
        """For the manifest: where a calibrated number comes from."""
        return f"calibrated on {self.images} images of {self.data} (SHA-256 {self.data_sha256[:12]}...)"


def to_json(value: Any) -> str:
    """Canonical JSON of a dataclass: sorted keys, two spaces, a newline at the end."""
    return json.dumps(dataclasses.asdict(value), indent=2, sort_keys=True, allow_nan=False) + "\n"


def manifest_from_json(text: str) -> Manifest:
    """Read a manifest.

    Raises:
        SpecError: not JSON, another schema, or a key that is unknown, missing or of the wrong type.
    """
    manifest: Manifest = _from_json(Manifest, text, "manifest")
    return manifest


def calibration_from_json(text: str) -> CalibrationRecord:
    """Read a calibration record.

    Raises:
        SpecError: as `manifest_from_json`.
    """
    record: CalibrationRecord = _from_json(CalibrationRecord, text, "calibration record")
    return record


def _from_json(kind: Any, text: str, what: str) -> Any:
    try:
        raw = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise SpecError(f"the {what} is not JSON: {error}") from error
    if not isinstance(raw, dict) or "schema" not in raw:
        raise SpecError(f"the {what} has no 'schema' number; it was not written by vtp-export")
    if raw["schema"] != SCHEMA:
        raise SpecError(
            f"the {what} has schema {raw['schema']!r} and this version reads schema {SCHEMA}; "
            "make it again, or use the version that wrote it"
        )
    return _decode(kind, raw, what)


def _refuse_constant(name: str) -> Any:
    """`NaN` and `Infinity` are Python's own addition to JSON; `to_json` never writes them."""
    raise ValueError(f"{name} is not a JSON number")


def _decode(kind: Any, value: Any, where: str) -> Any:
    """Turn parsed JSON into `kind`, strictly."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        return _decode_dataclass(kind, value, where)
    if origin is tuple and isinstance(value, list):
        return tuple(_decode(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if origin is dict and isinstance(value, dict):
        return {key: _decode(arguments[1], item, f"{where}.{key}") for key, item in value.items()}
    if origin in (types.UnionType, typing.Union):
        for option in arguments:
            try:
                return _decode(option, value, where)
            except SpecError:
                continue
    elif kind is float and type(value) in (int, float):
        return float(value)
    elif isinstance(kind, type) and type(value) is kind:
        return value
    raise SpecError(f"{where} is {value!r}, which is not {kind}")


def _decode_dataclass(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise SpecError(f"{where} is {value!r}, which is not a {kind.__name__}")
    hints = typing.get_type_hints(kind)
    if unknown := sorted(set(value) - set(hints)):
        raise SpecError(f"{where} has the unknown key '{unknown[0]}'; expected {', '.join(sorted(hints))}")
    if missing := sorted(set(hints) - set(value)):
        raise SpecError(f"{where} lacks the key '{missing[0]}'")
    return kind(**{key: _decode(hints[key], item, f"{where}.{key}") for key, item in value.items()})
