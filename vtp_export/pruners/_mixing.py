"""How many tokens attention chooses, and how many diversity: fixed, or by the complexity of the image.

Source: AgilePruner (ICLR 2026), section 4.3 and tables 3, 5 and 6: hybrid methods give more of the budget to attention
for simple images and more to diversity for complex ones, by a linear function of the effective rank; the inverse is the
control. The paper gives no numbers for the line, and no code of it was released. Here

    ratio = most + (least - most) * clip((complexity - low) / (high - low), 0, 1),  attention = floor(keep * ratio)

with `low` and `high` the quantiles 0.1 and 0.9 of a calibration record, or without one the lowest and the highest mean
of a data set in the paper's Table 4; `most` and `least` lie evenly about 1/2, VisPruner's fixed ratio. `ratio=inverse`
swaps them.
"""

import dataclasses
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from vtp_export.calibrations import CalibrationRecord
from vtp_export.errors import SpecError
from vtp_export.functional.tokens import Tokens
from vtp_export.pruners import base
from vtp_export.pruners._complexity import KINDS, alike, calibrated, complexity_of, usual
from vtp_export.settings import between, either, number, one_of, setting
from vtp_export.spec import Candidates

NEARLY_WHOLE = 2.0**-12
"""A product this little below a whole number counts as one, so that rounding does not decide."""

CALIBRATED = "the calibration record"


@dataclass(frozen=True, kw_only=True)
class MixConfig(base.Config):
    """Settings of a hybrid.

    ratio: share of the tokens that attention chooses: a number from 0 to 1, "adaptive" or "inverse".
    complexity: what the ratio follows, "erank" (of the projected features) or "entropy" (of CLS attention).
    low, high: complexity up to which an image is simple, from which on it is complex.
    most, least: ratio of a simple and of a complex image.
    center: whether erank is that of the features less their mean.
    """

    ratio: str = setting(
        "0.5", "adaptive, inverse or a number from 0 to 1", lambda ratio: _is_ratio(ratio), source="VisPruner's release"
    )
    complexity: str = one_of("erank", *KINDS, source="the paper")
    low: float | None = number(None, source=f"{CALIBRATED} (quantile 0.1), else the paper's Table 4")
    high: float | None = number(None, source=f"{CALIBRATED} (quantile 0.9), else the paper's Table 4")
    most: float = between(0.75, 0, 1, source="this package: evenly about VisPruner's ratio")
    least: float = between(0.25, 0, 1, source="this package: evenly about VisPruner's ratio")
    center: bool = either(True, source="AgilePruner's release")

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        super().__post_init__()
        low, high = self.ends
        if not low < high:
            raise SpecError(f"settings low and high are {low} and {high}; low must be the smaller")

    @property
    def fixed(self) -> float | None:
        """The ratio where it is one number."""
        try:
            return float(self.ratio)
        except ValueError:
            return None

    @property
    def ends(self) -> tuple[float, float]:
        """The ends in force."""
        kind = KINDS[self.complexity]
        return kind.low if self.low is None else self.low, kind.high if self.high is None else self.high

    @property
    def measures(self) -> tuple[str, ...]:
        """What the ratio is a function of."""
        return () if self.fixed is not None else (KINDS[self.complexity].output,)

    @property
    def stage(self) -> base.Stage:
        """Where a selector gathers: from the projected tokens when they are there anyway."""
        return "projected" if "projected" in self.reads else "hidden"

    @property
    def reads(self) -> frozenset[str]:
        """What the ratio needs."""
        return frozenset() if self.fixed is not None else frozenset({KINDS[self.complexity].signal})

    def counts(self, keep: int) -> range:
        """The numbers of tokens that attention may choose."""
        shares = [self.most, self.least] if self.fixed is None else [self.fixed]
        return range(_whole(keep * min(shares)), _whole(keep * max(shares)) + 1)

    @property
    def calibrated(self) -> bool:
        """Whether `low` or `high` is needed and was left out."""
        return self.fixed is None and None in (self.low, self.high)

    def resolved(self, calibration: CalibrationRecord | None = None) -> tuple["MixConfig", dict[str, str]]:
        """Settle `low` and `high`: the user's, else the record's quantiles, else the paper's."""
        if self.fixed is not None:
            return self, {}
        ends = dict(zip(("low", "high"), self.ends, strict=True))
        origins = dict.fromkeys(ends, "mean over a data set, paper Table 4")
        if calibration is not None:
            measured = calibrated(self.complexity, calibration, self.center)
            for name, share in (("low", "0.1"), ("high", "0.9")):
                ends[name], origins[name] = measured.quantiles[share], f"quantile {share}, {calibration.source}"
        for name in ends:
            if getattr(self, name) is not None:
                ends[name], origins[name] = getattr(self, name), "set by the user"
        return dataclasses.replace(self, low=ends["low"], high=ends["high"]), origins

    def idle(self, candidates: Candidates, calibration: CalibrationRecord | None = None) -> str | None:
        """See `base.Config`: the ratio is the same at both ends, or no image lies between them."""
        low, high = usual(self.complexity, calibration, self.center)
        begin, end = self.ends
        if self.fixed is not None or (self.most != self.least and low < end and high > begin):
            return None
        return alike(self.complexity, (low, high), "low, high, most, least")


def _is_ratio(text: str) -> bool:
    """Whether it is one of the two words, or a share."""
    try:
        return text in ("adaptive", "inverse") or 0 <= float(text) <= 1
    except ValueError:
        return False


def _whole(value: float) -> int:
    return math.floor(value + NEARLY_WHOLE)


def attention_count(config: MixConfig, keep: int, tokens: Tokens) -> tuple[Tensor, Tensor | None]:
    """How many tokens attention chooses in each image.

    Args:
        config: with `ends` in force.
        keep: the budget.
        tokens: `saliency` (b, n), and `projected` (b, n, d) where `erank` is measured.

    Returns:
        (b,) int64, and the complexity (b,) or None where the ratio is fixed.
    """
    assert tokens.saliency is not None
    if config.fixed is not None:
        return torch.full_like(tokens.saliency[:, 0], _whole(keep * config.fixed), dtype=torch.int64), None
    measured = complexity_of(config.complexity, tokens, config.center)
    low, high = config.ends
    simple, complex_ = (config.most, config.least) if config.ratio == "adaptive" else (config.least, config.most)
    share = simple + (complex_ - simple) * ((measured - low) / (high - low)).clamp(0, 1)
    return (keep * share + NEARLY_WHOLE).floor().long(), measured
