"""AgilePruner: walk by attention, strike out near-duplicates, more boldly the more complex the image.

Candidates are visited by descending CLS attention; keeping the one of rank r (1-based, pruned ones count) strikes out
all whose cosine distance to it is below

    tau_r = min(r * complexity / reference * step, tau_max)

Adaptive count (appendix B.5) is described there by one sentence: up to 20 % fewer than the budget for simple images,
proportionally more for complex ones. Here: round(keep * complexity / reference), not below 80 % and not above `ceiling`
times the budget.

Source: "AgilePruner: An Empirical Study of Attention and Diversity for Adaptive Visual Token Pruning in Large
Vision-Language Models" (ICLR 2026), section 4.3 and appendices B.2, B.4, B.5; repository cvsp-lab/AgilePruner.
Licence: Apache-2.0.
Differs: where paper and release differ, the release is followed: erank of *centred* projected features (`center=false`
for the paper's text), a reference of 90 (the paper reports a mean of about 95 over MME), and backfill by attention when
fewer than k survive. The release centres the features in place when the model runs in float32, so that its distances
and its output change with the precision; this does not.
Cost: two n x n products (distances, Gram matrix), 15 more of min(n, d) square for erank (none of these with
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
from torch import Tensor, nn

from vtp_export.errors import SpecError
from vtp_export.functional.attention import attention_entropy
from vtp_export.functional.erank import effective_rank
from vtp_export.functional.precision import at_least_float32
from vtp_export.functional.ranking import descending_rank
from vtp_export.functional.similarity import cosine_distance, spectral_gram
from vtp_export.functional.tokens import Selection, Tokens
from vtp_export.functional.walk import greedy_walk
from vtp_export.pruners.base import check_keep
from vtp_export.spec import CalibrationRecord, Candidates

NEEDS = ("projected", "saliency")
STAGE = "projected"

RELEASED_ERANK = 90.0
"""`ERANK_AVG_REF` of the release."""

PAPER_ENTROPY = 4.80
"""Mean attention entropy of CLIP ViT-L/14-336 over MME (appendix D), in nats."""

FLOOR = 0.8
"""Smallest share of the budget under the adaptive count (appendix B.5)."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the adaptive pruner.

    keep: tokens to keep; with count=adaptive the budget of an image of average complexity.
    complexity: "erank" (effective rank of the features) or "entropy" (of CLS attention).
    reference: complexity of an average image. None: 90 for erank, 4.80 for entropy.
    step: growth of the threshold with the rank, at average complexity.
    tau_max: largest threshold, a cosine distance.
    tau: one constant threshold instead of the adaptive one (the paper's Table 12), or None.
    center: whether erank is that of the features less their mean.
    count: "fixed", or "adaptive" (appendix B.5).
    ceiling: most tokens under the adaptive count, as a multiple of keep.
    """

    keep: int = 64
    complexity: str = "erank"
    reference: float | None = None
    step: float = 0.01
    tau_max: float = 0.25
    tau: float | None = None
    center: bool = True
    count: str = "fixed"
    ceiling: float = 1.6

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        _one_of("complexity", self.complexity, ("erank", "entropy"))
        _one_of("count", self.count, ("fixed", "adaptive"))
        for name, value in (("reference", self.reference), ("step", self.step), ("tau_max", self.tau_max)):
            if value is not None and not (math.isfinite(value) and value > 0):
                raise SpecError(f"setting {name} is {value}; it must be a positive number")
        if self.tau is not None and not 0 <= self.tau <= 2:
            raise SpecError(f"setting tau is {self.tau}; a cosine distance lies between 0 and 2")
        if not (math.isfinite(self.ceiling) and self.ceiling >= 1):
            raise SpecError(f"setting ceiling is {self.ceiling}; it must be at least 1")

    @property
    def average(self) -> float:
        """The reference in force."""
        if self.reference is not None:
            return self.reference
        return RELEASED_ERANK if self.complexity == "erank" else PAPER_ENTROPY

    @property
    def uses_complexity(self) -> bool:
        """Whether anything depends on the image's complexity."""
        return self.tau is None or self.count == "adaptive"


def _one_of(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise SpecError(f"setting {name} is '{value}'; it must be one of: {', '.join(choices)}")


class Pruner(nn.Module):
    """The exportable walk."""

    loop = True  # False for targets without a loop operator: the rounds unroll

    def __init__(self, config: Config, candidates: Candidates) -> None:
        super().__init__()
        self.config = config
        self.budget = check_keep(config.keep, candidates)
        adaptive = config.count == "adaptive"
        self.keep = min(candidates.n, math.floor(self.budget * config.ceiling)) if adaptive else self.budget
        used = "erank" if config.complexity == "erank" else "attention_entropy"
        self.measures: tuple[str, ...] = (used,) if config.uses_complexity else ()

    def forward(self, tokens: Tokens) -> Selection:
        """Choose from `saliency` (b, n) and `projected` (b, n, d)."""
        assert tokens.saliency is not None and tokens.projected is not None
        config = self.config
        saliency, features = at_least_float32(tokens.saliency), at_least_float32(tokens.projected)
        complexity = self._complexity(saliency, features)  # (b,)
        rank = descending_rank(saliency)
        near = cosine_distance(features) < self._threshold(rank, complexity)[:, :, None]
        budget = self._budget(complexity)  # (b,)
        kept = greedy_walk(rank, near, budget, self.keep, self.loop)
        return Selection(
            kept,
            num_kept=budget.long() if config.count == "adaptive" else None,
            erank=complexity if "erank" in self.measures else None,
            attention_entropy=complexity if "attention_entropy" in self.measures else None,
        )

    def _complexity(self, saliency: Tensor, features: Tensor) -> Tensor:
        if "erank" in self.measures:
            return effective_rank(*spectral_gram(features, self.config.center))
        if "attention_entropy" in self.measures:
            return attention_entropy(saliency)
        return torch.full_like(saliency[:, 0], self.config.average)

    def _threshold(self, rank: Tensor, complexity: Tensor) -> Tensor:
        """The threshold of every candidate, (b, n)."""
        config = self.config
        if config.tau is not None:
            return torch.full_like(rank, config.tau)
        slope = complexity / config.average * config.step
        return ((rank + 1) * slope[:, None]).clamp(max=config.tau_max)

    def _budget(self, complexity: Tensor) -> Tensor:
        """How many to keep, (b,) whole numbers in float."""
        if self.config.count == "fixed":
            return torch.full_like(complexity, self.keep)
        share = (complexity / self.config.average).clamp(FLOOR, self.config.ceiling)
        return (self.budget * share + 0.5).floor().clamp(1, self.keep)


def resolve(config: Config, calibration: CalibrationRecord | None = None) -> tuple[Config, dict[str, str]]:
    """Settle `reference`, and say where its value comes from: the user, else the record's mean, else the release."""
    if config.reference is not None:
        return config, {"reference": "set by the user"}
    if calibration is not None:
        erank = calibration.erank if config.center else calibration.erank_uncentred
        measured = erank if config.complexity == "erank" else calibration.attention_entropy
        return dataclasses.replace(config, reference=measured.mean), {"reference": f"mean, {calibration.source}"}
    origin = "ERANK_AVG_REF of the release" if config.complexity == "erank" else "mean over MME, paper appendix D"
    return dataclasses.replace(config, reference=config.average), {"reference": origin}
