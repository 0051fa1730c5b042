"""How complex an image is, as a setting says: the effective rank of its features, or the entropy of the attention.

Numbers of AgilePruner (ICLR 2026), for CLIP ViT-L/14-336: where no calibration record gives those of the user's own
images, they say what is usual.
"""

from dataclasses import dataclass

from torch import Tensor

from vtp_export.calibrations import CalibrationRecord, Distribution
from vtp_export.functional.attention import attention_entropy
from vtp_export.functional.erank import effective_rank
from vtp_export.functional.precision import at_least_float32
from vtp_export.functional.similarity import spectral_gram
from vtp_export.functional.tokens import Tokens


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One way to say how complex an image is.

    output: its name among the outputs. signal: the field of `Tokens` that it is measured on.
    average, origin: that of an average image, and where that number comes from.
    low, high: lowest and highest mean over a data set (paper, Table 4).
    """

    output: str
    signal: str
    average: float
    origin: str
    low: float
    high: float


KINDS = {
    "erank": Kind(
        output="erank",
        signal="projected",
        average=90.0,
        origin="ERANK_AVG_REF of the release",
        low=49.0,
        high=109.0,
    ),
    "entropy": Kind(
        output="attention_entropy",
        signal="saliency",
        average=4.80,
        origin="mean over MME, paper appendix D",
        low=4.39,
        high=4.90,
    ),
}
"""By the word of the setting; entropy is in nats."""

SIGNALS = frozenset(kind.signal for kind in KINDS.values())
"""The fields of `Tokens` that they are measured on."""


def complexity_of(kind: str, tokens: Tokens, center: bool = True) -> Tensor:
    """Of each image of a batch, (b,).

    Args:
        kind: one of `KINDS`.
        tokens: with the signal of that kind.
        center: of erank: whether the mean of the features is taken out first.
    """
    if kind == "erank":
        assert tokens.projected is not None
        return effective_rank(*spectral_gram(at_least_float32(tokens.projected), center))
    assert tokens.saliency is not None
    return attention_entropy(at_least_float32(tokens.saliency))


def calibrated(kind: str, record: CalibrationRecord, center: bool = True) -> Distribution:
    """The same over the images of a record.

    Raises:
        SpecError: the record does not have it.
    """
    return record.measure("erank_uncentred" if kind == "erank" and not center else KINDS[kind].output)


def usual(kind: str, record: CalibrationRecord | None, center: bool = True) -> tuple[float, float]:
    """From the simplest to the most complex: the images of a record, else means of data sets in the paper."""
    if record is None:
        return KINDS[kind].low, KINDS[kind].high
    measured = calibrated(kind, record, center)
    return measured.min, measured.max


def alike(kind: str, ends: tuple[float, float], settings: str) -> str:
    """The sentence for settings that treat all usual images alike."""
    low, high = ends
    return (
        f"{kind} decides nothing with these settings: images of {low:.4g} to {high:.4g}, and that is usual, are all "
        f"treated alike, so the artefact measures it for nothing; look at {settings}"
    )
