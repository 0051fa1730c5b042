"""HiPrune: anchors by the attention received in a middle layer, their neighbours, and the rest by the last layer's.

Attention received is the mean over heads and over all queries, CLS among them.

1. Anchors: the round(keep * alpha / 5) tokens that receive most in the middle layer (the 9th of 24; in towers of
   another depth the layer at three eighths). With each of them its four neighbours, in the release's indices: i - 1,
   i + 1, i - columns, i + columns, cut to the grid, so that a neighbour of a row's end is in the next row.
2. The rest of the budget: the tokens that receive most in the select layer.

Source: Liu et al., "HiPrune: Training-Free Visual Token Pruning via Hierarchical Attention in Vision-Language Models"
(2025); repository Danielement321/HiPrune.
Licence: MIT.
Differs: followed as released; where five tokens an anchor exceed the budget (the release fails) there are fewer
anchors. Ties go to the lowest position. CLS takes part as a query only, and is dropped; output in spatial order.
Cost: two orders of n weights; in the tower every weight of two attention maps, dearer than the one row that others
read.
Published: 99.3 % of the full model at 192 tokens (its README). Qwen2.5-VL-7B, 25 % / 10 % kept (AngelSlim's
documentation): 87.80 / 72.22 %.
Use it when: the tower has no CLS token.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from vtp_export.functional.precision import at_least_float32
from vtp_export.functional.ranking import descending_rank, positions
from vtp_export.functional.tokens import Selection, Tokens
from vtp_export.pruners import base
from vtp_export.settings import between
from vtp_export.spec import Candidates


@dataclass(frozen=True)
class Config(base.Config):
    """Settings of HiPrune.

    alpha: share of the tokens for anchors and their neighbours.
    """

    alpha: float = between(0.1, 0, 1, source="the release")


def needs(config: Config) -> frozenset[str]:
    """What `forward` reads."""
    return frozenset({"received", "early_received"})


class Pruner(base.Pruner):
    """Anchors with neighbours, then the most attended."""

    neighbours: Tensor
    """(n, n) row i is True at i and its neighbours."""

    def __init__(self, config: Config, candidates: Candidates) -> None:
        super().__init__(config, candidates)
        self.method = base.Method(slots=self.keep, needs=needs(config), by_place=True)
        self.anchors = min(round(self.keep * config.alpha / 5), self.keep // 5)
        _, columns = base.grid_of(candidates, "hiprune")
        place = torch.arange(candidates.n)
        around = torch.stack([place + step for step in (0, -1, 1, -columns, columns)]).clamp(0, candidates.n - 1)
        neighbours = (around.T[:, :, None] == place).any(1)
        self.register_buffer("neighbours", neighbours, persistent=False)

    def forward(self, tokens: Tokens) -> Selection:
        """Choose from `early_received` (b, n) and `received` (b, n)."""
        assert tokens.early_received is not None and tokens.received is not None
        anchor = descending_rank(at_least_float32(tokens.early_received)) < self.anchors
        first = (anchor[:, :, None] & self.neighbours).any(1)
        received = at_least_float32(tokens.received)  # below 1, so that 2 is above all
        return Selection(positions(descending_rank(torch.where(first, 2.0, received)) < self.keep, self.keep))
