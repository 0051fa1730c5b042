"""SCOPE: the k tokens that cover the picture best, each gain weighted by CLS attention.

With S the cosines of the features before the projector and c_i = max(0, S_ij over chosen j) what is covered of token i,
the next token is the one of largest a_j^alpha * sum_i max(0, S_ij - c_i). The sum has n terms for each of n candidates,
and c changes them all: n^2 elementwise operations a round are the method's own cost. (Updating the gains for the
changed i alone, or evaluating them lazily, saves much of that and takes a shape that depends on the data.) At 576
tokens that is 0.3 million a round; at 2880 it is 8 million, the dearest of the greedy methods by far.

CLS is dropped. Output in spatial order.

Source: SCOPE, saliency-coverage oriented pruning (NeurIPS 2025); repository kinredon/SCOPE.
Licence: none at the repository's root: its rules are followed here, none of its code.
Differs: paper and release agree. Attention is the mean over heads where the release has the sum (a factor, which
changes no choice); its variant that adds attention to the gain instead is left out, because there the factor would
matter.
Cost: one n x n product, then k rounds of O(n^2) in one loop, the method's own.
Published: 96.0 % of the full model at a ninth of the tokens (its summary); 96.77 / 91.90 % at 128 / 64 tokens on other
benchmarks (IDPruner). Qwen2.5-VL-7B, 25 % / 10 % kept (AngelSlim's documentation): 92.51 / 79.35 %.
Use it when: the budget is small, and coverage and saliency both count.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from vtp_export.functional.greedy import TAKEN, rows_of
from vtp_export.functional.loop import repeat
from vtp_export.functional.precision import at_least_float32
from vtp_export.functional.ranking import best, positions
from vtp_export.functional.similarity import cosines
from vtp_export.functional.sizes import static_size
from vtp_export.functional.tokens import Selection, Tokens
from vtp_export.pruners import base
from vtp_export.settings import at_least
from vtp_export.spec import Candidates


@dataclass(frozen=True)
class Config(base.Config):
    """Settings of SCOPE.

    alpha: exponent of CLS attention; 0 is coverage alone.
    """

    alpha: float = at_least(1.0, 0, source="the release")


def needs(config: Config) -> frozenset[str]:
    """What `forward` reads."""
    return frozenset({"saliency"})


class Pruner(base.Pruner):
    """Greedy weighted coverage."""

    def __init__(self, config: Config, candidates: Candidates) -> None:
        super().__init__(config, candidates)
        self.method = base.Method(slots=self.keep, needs=needs(config))
        self.alpha = config.alpha

    def forward(self, tokens: Tokens) -> Selection:
        """Choose from `hidden` (b, n, dv) and `saliency` (b, n)."""
        assert tokens.saliency is not None
        similarity = cosines(at_least_float32(tokens.hidden))
        weight = at_least_float32(tokens.saliency) ** self.alpha
        return Selection(positions(self._cover(similarity, weight), self.keep))

    def _cover(self, similarity: Tensor, weight: Tensor) -> Tensor:
        """The chosen, (b, n) bool, from similarities (b, n, n) and weights (b, n), none negative."""
        rows = rows_of(similarity)
        place = torch.arange(static_size(similarity, -1), device=similarity.device)

        def step(turn: Tensor | int, state: Tensor) -> Tensor:
            covered, weight = state[:, 0], state[:, 1]  # (b, n) each
            gain = (similarity - covered[:, None]).clamp(min=0).sum(-1) * weight
            pick = best(torch.where(weight < 0, TAKEN, gain))
            weight = torch.where(place == pick[:, None], TAKEN, weight)
            return torch.stack([torch.maximum(covered, rows(pick)), weight], dim=1)

        state = torch.stack([torch.zeros_like(weight), weight], dim=1)
        return repeat(step, state, self.keep)[:, 1] < 0
