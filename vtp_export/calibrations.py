"""What a calibration says about itself: frozen dataclasses. Standard library only."""

from dataclasses import dataclass

from vtp_export.json_records import from_json

CALIBRATION_SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
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


@dataclass(frozen=True, kw_only=True)
class CalibrationRecord:
    """The complexity of a data set's images as one model sees them.

    weights_sha256: digest of the model's tensors, as in `ModelRecord`. data_sha256: over names and pixel values.
    erank: of the projected features less their mean; erank_uncentred: of the features as they are.
    correlation: Pearson's, of erank and attention entropy; None where one of them does not vary.
    dtype: what the model computed with.
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
    dtype: str
    versions: dict[str, str]
    schema: int = CALIBRATION_SCHEMA

    @property
    def source(self) -> str:
        """For the manifest: where a calibrated number comes from."""
        narrow = "" if self.dtype == "float32" else f", in {self.dtype}"
        return f"calibrated on {self.images} images of {self.data} (SHA-256 {self.data_sha256[:12]}...){narrow}"


def calibration_from_json(text: str) -> CalibrationRecord:
    """Read a calibration record.

    Raises:
        SpecError: not JSON, another schema, changed since it was written, or a key that is unknown, missing, repeated
            or of the wrong type.
    """
    return from_json(CalibrationRecord, text, "calibration record", CALIBRATION_SCHEMA, "calibrate again")
