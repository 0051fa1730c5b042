"""FPS: farthest-point sampling, from the token that CLS attends to most.

metric=euclidean measures from the chosen token to all others in every round, O(k n d), less than a distance matrix
costs, and without the cancellation of one. CLS takes no part and is dropped. Output in spatial order.

Source: Eldar et al., "The farthest point strategy for progressive image sampling" (1997); as "FPSPruner" in the
hallucination table and appendix C of AgilePruner (ICLR 2026).
Licence: none needed: an algorithm of the literature, no code was read.
Differs: that paper has no code for it and names neither the first token nor the metric. They are settings here, and
their defaults (CLS attention, cosine) are this package's choice: say which were used. With metric=cosine the first
token is the only difference from `divprune`.
Cost: metric=cosine: one n x n product, then k rounds of O(n) in one loop; metric=euclidean: no product, k rounds of O(n
d).
Published: CHAIR at 64 tokens: sentences 58.6, instances 18.6, recall 76.0 (AgilePruner, whose first token and metric
are not known).
Use it when: a plain baseline of diversity is wanted.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from vtp_export.functional.greedy import Rows, farthest_first, rows_of
from vtp_export.functional.precision import at_least_float32
from vtp_export.functional.ranking import best, positions
from vtp_export.functional.similarity import cosines
from vtp_export.functional.tokens import Selection, Tokens
from vtp_export.pruners import base
from vtp_export.settings import one_of
from vtp_export.spec import Candidates


@dataclass(frozen=True)
class Config(base.Config):
    """Settings of farthest-point sampling.

    start: the first token, "saliency" (most attended by CLS) or "first" (position 0).
    metric: "cosine" (1 - cosine) or "euclidean", of the projected features.
    """

    start: str = one_of("saliency", "saliency", "first", source="this package: the paper names none")
    metric: str = one_of("cosine", "cosine", "euclidean", source="this package: the paper names none")


def needs(config: Config) -> frozenset[str]:
    """What `forward` reads."""
    return frozenset({"projected", "saliency"} if config.start == "saliency" else {"projected"})


class Pruner(base.Pruner):
    """Max-min distance from a given token on."""

    def __init__(self, config: Config, candidates: Candidates) -> None:
        super().__init__(config, candidates)
        self.method = base.Method(slots=self.keep, needs=needs(config), stage="projected")

    def forward(self, tokens: Tokens) -> Selection:
        """Choose from `projected` (b, n, d), starting by `saliency` (b, n)."""
        assert tokens.projected is not None
        features = at_least_float32(tokens.projected)
        first = torch.zeros(features.shape[0], dtype=torch.int64, device=features.device)
        if self.config.start == "saliency":
            assert tokens.saliency is not None
            first = best(at_least_float32(tokens.saliency))
        distances = rows_of(1 - cosines(features)) if self.config.metric == "cosine" else _euclidean(features)
        return Selection(positions(farthest_first(first, distances, self.keep), self.keep))


def _euclidean(features: Tensor) -> Rows:
    """Squared distances of one token per image to all; the square keeps the order."""
    rows = rows_of(features)
    return lambda pick: (features - rows(pick)[:, None]).square().sum(-1)
