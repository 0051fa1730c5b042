"""What a calibration says about itself: frozen dataclasses. Standard library only."""

from dataclasses import dataclass

from vtp_export.errors import SpecError
from vtp_export.json_records import from_json

CALIBRATION_SCHEMA = 2

MEASURES = ("erank", "erank_uncentred", "attention_entropy", "distance_mean", "distance_near", "distance_median")
"""All that is measured of a view; an artefact may give fewer, see `calibration.artefacts`.

erank: effective rank of the projected features less their mean; erank_uncentred: of the features as they are.
attention_entropy: in nats. distance_mean, distance_median: of the cosine distances of all pairs of projected features.
distance_near: the share of them at which a token has `NEAR` others within that distance, on average.
"""

NEAR = 8
"""Others that a token strikes out where one in nine is kept, the paper's middle budget: 64 of 576."""


@dataclass(frozen=True, kw_only=True)
class Distribution:
    """One number over a data set.

    quantiles: by their share, "0.05" to "0.95". histogram: counts between neighbours of `edges`.
    """

    count: int
    mean: float
    std: float
    min: float
    max: float
    quantiles: dict[str, float]
    edges: tuple[float, ...]
    histogram: tuple[int, ...]


@dataclass(frozen=True)
class Broken:
    """A picture that could not be read, where it stands in the data set, and why."""

    position: int
    name: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Deviation:
    """What a corruption does to erank, over the pictures of a record.

    difference: mean of the absolute differences from the clean picture. of_mean: that as a share of the clean mean.
    relative: mean of each picture's difference as a share of its own clean erank.
    """

    corruption: str
    severity: int
    difference: float
    of_mean: float
    relative: float


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which pictures of a data set: of those after the first `start`, so many spread over all of them.

    total: pictures that the data set holds. limit: None for all.
    """

    total: int
    start: int = 0
    limit: int | None = None

    def __len__(self) -> int:
        """How many."""
        rest = max(self.total - self.start, 0)
        return rest if self.limit is None else min(self.limit, rest)

    def position(self, number: int) -> int:
        """Where the picture of that number stands in the data set.

        Example:
            >>> [Selection(total=10, start=4, limit=3).position(i) for i in range(3)]
            [5, 7, 9]
        """
        return self.start + (2 * number + 1) * (self.total - self.start) // (2 * len(self))


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What was measured on what, and how.

    weights_sha256: digest of the model's tensors, as in `ModelRecord`. preprocessing_sha256: of all that happens to a
    picture before. engine: what computed it: "eager", or a format. dtype: what the model computed with.
    selection, batch: which pictures, and how many the model saw at a time.
    shard: which of how many, from 1; None for the whole.
    """

    model_id: str
    weights_sha256: str
    preprocessing_sha256: str
    engine: str
    dtype: str
    data: str
    selection: Selection
    batch: int
    shard: tuple[int, int] | None


@dataclass(frozen=True, kw_only=True)
class CalibrationRecord(Measurement):
    """The complexity of a data set's images as one model sees them.

    images, views: how many were measured; broken: how many could not be read, of which `listed` names the first.
    data_sha256: over names and the bytes that the model saw.
    measures: by name, see `MEASURES`, over views; per_picture: the same over means of a picture's views, empty where
    every picture is one view. covariance: of the measures, over views.
    correlation: Pearson's, of erank and attention entropy; None where one of them does not vary or is not there.
    tau_max: a largest threshold proposed from these images: the median of `distance_near`.
    deviations: what corruptions do to erank, where that was asked for. columns_sha256: of the file beside this one that
    holds the numbers of every view.
    """

    images: int
    views: int
    broken: int
    listed: tuple[Broken, ...]
    data_sha256: str
    measures: dict[str, Distribution]
    per_picture: dict[str, Distribution]
    covariance: dict[str, dict[str, float]]
    correlation: float | None
    tau_max: float | None
    deviations: tuple[Deviation, ...]
    columns_sha256: str
    versions: dict[str, str]
    schema: int = CALIBRATION_SCHEMA

    def measure(self, name: str) -> Distribution:
        """One of the measures.

        Raises:
            SpecError: it was not measured.
        """
        if name not in self.measures:
            raise SpecError(
                f"the calibration record of {self.data} has no {name}: it was measured with {self.engine}, of an "
                f"artefact that gives {', '.join(self.measures)} alone; calibrate the model itself"
            )
        return self.measures[name]

    def unfit(self, model: str, weights: str, preprocessing: str) -> str | None:
        """Why it says nothing of a model, as the end of a sentence; None where it does.

        Args:
            model: its name.
            weights: digest of its tensors.
            preprocessing: digest of what it does to a picture.
        """
        remedy = "make one with 'vtp-export calibrate'"
        if self.shard is not None:
            remedy = "join them with 'vtp-export calibrate --merge DIR --out FILE'"
            return f"is shard {self.shard[0]} of {self.shard[1]}; {remedy}"
        if self.weights_sha256 != weights:
            made = f"was made for {self.model_id} (weights SHA-256 {self.weights_sha256[:12]}...)"
            return f"{made}, not for '{model}' ({weights[:12]}...); {remedy}"
        if self.preprocessing_sha256 != preprocessing:
            return f"was made with another preprocessing of pictures than that of '{model}'; {remedy}"
        return None

    @property
    def source(self) -> str:
        """For the manifest: where a calibrated number comes from."""
        narrow = "" if self.dtype == "float32" else f", in {self.dtype}"
        views = "" if self.views == self.images else f" ({self.views} views)"
        return f"calibrated on {self.images} images{views} of {self.data} (SHA-256 {self.data_sha256[:12]}...){narrow}"


def calibration_from_json(text: str) -> CalibrationRecord:
    """Read a calibration record.

    Raises:
        SpecError: not JSON, another schema, changed since it was written, or a key that is unknown, missing, repeated
            or of the wrong type.
    """
    return from_json(CalibrationRecord, text, "calibration record", CALIBRATION_SCHEMA, "calibrate again")
