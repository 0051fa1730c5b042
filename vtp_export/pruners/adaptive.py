"""AgilePruner: walk by attention, strike out near-duplicates, more boldly the more complex the image.

Candidates are visited by descending CLS attention; keeping the one of rank r (1-based, pruned ones count) strikes out
all whose cosine distance to it is below

    tau_r = min(r * complexity / average * step, tau_max)

Adaptive count (appendix B.5) is described there by one sentence: up to 20 % fewer than the budget for simple images,
proportionally more for complex ones. Here: round(keep * complexity / average), not below 80 % and not above `ceiling`
times the budget.

Source: "AgilePruner: An Empirical Study of Attention and Diversity for Adaptive Visual Token Pruning in Large
Vision-Language Models" (ICLR 2026), section 4.3 and appendices B.2, B.4, B.5; repository cvsp-lab/AgilePruner.
Licence: Apache-2.0.
Differs: where paper and release differ, the release is followed: erank of *centred* projected features (`center=false`
for the paper's text), an average of 90 (the paper reports a mean of about 95 over MME), and backfill by attention when
fewer than k survive. The release centres the features in place when the model runs in float32, so that its distances
and its output change with the precision; this does not.
Cost: two n x n products (distances, Gram matrix), 17 more of min(n, d) square for erank (none of these with
complexity=entropy), then k rounds of O(n) in one loop.
Published: 98.04 / 96.76 / 94.02 at 128 / 64 / 32 tokens (% of the full model, LLaVA-1.5-7B, mean of nine benchmarks,
AgilePruner's Table 7). CHAIR at 64 tokens: sentences 52.2, instances 15.9, recall 75.7 (full model: 51.0, 13.9, 78.7).
Use it when: nothing speaks for another: it adapts to plain and to crowded images, needs one row of attention and one
Gram matrix, and leads that table at every budget.
"""

import dataclasses
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from vtp_export.calibrations import CalibrationRecord
from vtp_export.functional.precision import at_least_float32
from vtp_export.functional.ranking import descending_rank
from vtp_export.functional.similarity import cosine_distance
from vtp_export.functional.tokens import Selection, Tokens
from vtp_export.functional.walk import greedy_walk
from vtp_export.pruners import base
from vtp_export.pruners._complexity import KINDS, alike, calibrated, complexity_of, usual
from vtp_export.settings import at_least, between, either, one_of, positive
from vtp_export.spec import Candidates

FLOOR = 0.8
"""Smallest share of the budget under the adaptive count (appendix B.5)."""

SMALLEST = 1e-6
"""A cosine distance that float32 does not tell from 0."""


@dataclass(frozen=True, kw_only=True)
class Config(base.Config):
    """Settings of the adaptive pruner.

    keep: tokens to keep; with count=adaptive the budget of an image of average complexity.
    complexity: "erank" (effective rank of the features) or "entropy" (of CLS attention).
    average: complexity of an average image. None: 90 for erank, 4.80 for entropy.
    step: growth of the threshold with the rank, at average complexity.
    tau_max: largest threshold, a cosine distance.
    tau: one constant threshold instead of the adaptive one (the paper's Table 12), or None.
    center: whether erank is that of the features less their mean.
    count: "fixed", or "adaptive" (appendix B.5).
    ceiling: most tokens under the adaptive count, as a multiple of keep.
    """

    complexity: str = one_of("erank", *KINDS, source="the paper")
    average: float | None = positive(
        None, source="the calibration record (mean), else the release (erank) or the paper's appendix D (entropy)"
    )
    step: float = positive(0.01, source="the release")
    tau_max: float = positive(0.25, source="the paper and its release")
    tau: float | None = between(None, 0, 2, source="the paper: the threshold adapts")
    center: bool = either(True, source="the release")
    count: str = one_of("fixed", "fixed", "adaptive", source="the paper, section 4.3")
    ceiling: float = at_least(1.6, 1, source="this package: the paper gives no bound")

    @property
    def settled_average(self) -> float:
        """The one in force."""
        if self.average is not None:
            return self.average
        return KINDS[self.complexity].average

    @property
    def uses_complexity(self) -> bool:
        """Whether anything depends on the image's complexity."""
        return self.tau is None or self.count == "adaptive"

    @property
    def calibrated(self) -> bool:
        """Whether `average` decides anything and was left out."""
        return self.uses_complexity and self.average is None

    def resolved(self, calibration: CalibrationRecord | None = None) -> tuple["Config", dict[str, str]]:
        """Settle `average`: the user's, else the record's mean, else the release's."""
        if self.average is not None:
            return self, {"average": "set by the user"}
        if calibration is not None and self.calibrated:
            mean = calibrated(self.complexity, calibration, self.center).mean
            return dataclasses.replace(self, average=mean), {"average": f"mean, {calibration.source}"}
        return dataclasses.replace(self, average=self.settled_average), {"average": KINDS[self.complexity].origin}

    def idle(self, candidates: Candidates, calibration: CalibrationRecord | None = None) -> str | None:
        """See `base.Config`: the threshold is the largest from the first token on, or never strikes a token out."""
        low, high = usual(self.complexity, calibration, self.center)
        average = self.settled_average
        slope = self.step / average
        flat = self.tau is not None or low * slope >= self.tau_max or candidates.n * high * slope < SMALLEST
        counted = (
            self.count == "adaptive"
            and low < self.ceiling * self.settled_average
            and high > FLOOR * self.settled_average
        )
        if not self.uses_complexity or not flat or counted:
            return None
        return alike(self.complexity, (low, high), "average, step, tau_max, count")


def needs(config: Config) -> frozenset[str]:
    """What `forward` reads."""
    return frozenset({"projected", "saliency"})


class Pruner(base.Pruner):
    """The exportable walk."""

    config: Config

    def __init__(self, config: Config, candidates: Candidates) -> None:
        super().__init__(config, candidates)
        most = math.floor(self.keep * config.ceiling) if config.count == "adaptive" else self.keep
        self.method = base.Method(
            slots=min(candidates.n, most),
            needs=needs(config),
            stage="projected",
            measures=(KINDS[config.complexity].output,) if config.uses_complexity else (),
        )

    def forward(self, tokens: Tokens) -> Selection:
        """Choose from `saliency` (b, n) and `projected` (b, n, d)."""
        assert tokens.saliency is not None and tokens.projected is not None
        config = self.config
        saliency, features = at_least_float32(tokens.saliency), at_least_float32(tokens.projected)
        if config.uses_complexity:
            measured = complexity_of(config.complexity, tokens, config.center)  # (b,)
        else:
            measured = torch.full_like(saliency[:, 0], config.settled_average)
        rank = descending_rank(saliency)
        near = cosine_distance(features) < self._threshold(rank, measured)[:, :, None]
        budget = self._budget(measured) if config.count == "adaptive" else None
        kept = greedy_walk(rank, near, budget, self.method.slots)
        return Selection(
            kept,
            num_kept=None if budget is None else budget.long(),
            **dict.fromkeys(self.method.measures, measured),
        )

    def _threshold(self, rank: Tensor, complexity: Tensor) -> Tensor:
        """The threshold of every candidate, (b, n)."""
        config = self.config
        if config.tau is not None:
            return torch.full_like(rank, config.tau)
        slope = complexity / config.settled_average * config.step
        return ((rank + 1) * slope[:, None]).clamp(max=config.tau_max)

    def _budget(self, complexity: Tensor) -> Tensor:
        """How many to keep under the adaptive count, (b,) whole numbers in float."""
        share = (complexity / self.config.settled_average).clamp(FLOOR, self.config.ceiling)
        return (self.keep * share + 0.5).floor().clamp(1, self.method.slots)
