"""DPP: the k tokens of (nearly) largest determinant, plain or weighted by CLS attention.

The kernel is r_i cos_ij r_j over the projected features.

CLS is dropped. Output in spatial order.

Source: Zhang et al., "Beyond Attention or Similarity: Maximizing Conditional Diversity for Token Pruning in MLLMs"
(CDPruner, NeurIPS 2025); repository Theia-4869/CDPruner. Greedy MAP inference: Chen et al., "Fast greedy MAP inference
for determinantal point process" (NeurIPS 2018).
Licence: Apache-2.0.
Differs: CDPruner's relevance r compares each patch with the question, which a vision front end does not see; so r is 1
(relevance=none, what OpenVINO GenAI calls a weight of 0) or CLS attention, normalised as CDPruner normalises its own:
(a - min + 1e-6) / (max - min), with 1e-6 added below as well, so that equal attention gives r = 1. Its minimum and
maximum are those of the image, CDPruner's those of the batch. A token whose residual is at most 2^-14 (within 0.45
degrees of the span of the chosen ones) comes last, by position, where the release divides by what rounding left of 0.
Gains whose logarithms round to the same multiple of 2^-20 tie. Paper and release agree otherwise.
Cost: one n x n product, then k rounds in one loop, O(k n) each for the Cholesky rows.
Published: none without the question; with it CDPruner reports 94 % of the full model at 32 tokens.
Use it when: diversity of the set as a whole is wanted, where `divprune` looks at pairs.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from vtp_export.functional.greedy import largest_determinant
from vtp_export.functional.precision import at_least_float32
from vtp_export.functional.ranking import positions
from vtp_export.functional.similarity import cosines
from vtp_export.functional.tokens import Selection, Tokens
from vtp_export.pruners import base
from vtp_export.settings import one_of
from vtp_export.spec import Candidates

EXPLAINED = 2.0**-14
"""Square of the sine of the angle to the span of the chosen tokens; float32 cannot tell less from 0."""


@dataclass(frozen=True)
class Config(base.Config):
    """Settings of the determinantal point process.

    relevance: "none" (diversity alone) or "saliency" (CLS attention).
    """

    relevance: str = one_of("none", "none", "saliency", source="this package: there is no question")


def needs(config: Config) -> frozenset[str]:
    """What `forward` reads."""
    return frozenset({"projected", "saliency"} if config.relevance == "saliency" else {"projected"})


class Pruner(base.Pruner):
    """Greedy MAP inference by Cholesky rows."""

    def __init__(self, config: Config, candidates: Candidates) -> None:
        super().__init__(config, candidates)
        self.method = base.Method(slots=self.keep, needs=needs(config), stage="projected", by_place=True)
        self.weighted = config.relevance == "saliency"

    def forward(self, tokens: Tokens) -> Selection:
        """Choose from `projected` (b, n, d) and, when weighted, `saliency` (b, n)."""
        assert tokens.projected is not None
        kernel = cosines(at_least_float32(tokens.projected))
        log_weight = torch.zeros_like(kernel[:, 0])
        if self.weighted:
            assert tokens.saliency is not None
            log_weight = 2 * _relevance(at_least_float32(tokens.saliency)).log()
        chosen = largest_determinant(kernel, log_weight, self.keep, EXPLAINED)
        return Selection(positions(chosen, self.keep))


def _relevance(saliency: Tensor) -> Tensor:
    """Attention (b, n) stretched to (0, 1]."""
    low, high = saliency.amin(-1, keepdim=True), saliency.amax(-1, keepdim=True)
    return (saliency - low + 1e-6) / (high - low + 1e-6)
