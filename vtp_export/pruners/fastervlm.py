"""FasterVLM: keep the k tokens that CLS attends to most.

Kept tokens stay in spatial order, CLS is dropped.

Source: Zhang et al. 2024, "[CLS] attention is all you need for training-free visual token pruning"; repository
Theia-4869/FasterVLM.
Licence: Apache-2.0.
Differs: code and paper agree. Ties go to the lowest position, where the release leaves them undefined.
Cost: an order of n weights; only what is kept is projected.
Published: CHAIR at 64 tokens: sentences 45.4, instances 13.5, recall 69.3 (AgilePruner; full model: 51.0, 13.9, 78.7).
Use it when: speed or hallucination matters most: one order, and nothing else but CLS attention.
"""

from dataclasses import dataclass

from torch import nn

from vtp_export.functional.precision import at_least_float32
from vtp_export.functional.ranking import descending_rank, positions
from vtp_export.functional.tokens import Selection, Tokens
from vtp_export.pruners.base import check_keep
from vtp_export.spec import Candidates

NEEDS = ("saliency",)
STAGE = "hidden"


@dataclass(frozen=True)
class Config:
    """keep: how many tokens."""

    keep: int = 64


class Pruner(nn.Module):
    """Top-k by CLS attention."""

    measures: tuple[str, ...] = ()

    def __init__(self, config: Config, candidates: Candidates) -> None:
        super().__init__()
        self.keep = check_keep(config.keep, candidates)

    def forward(self, tokens: Tokens) -> Selection:
        """Choose from `saliency` (b, n)."""
        assert tokens.saliency is not None
        rank = descending_rank(at_least_float32(tokens.saliency))
        return Selection(positions(rank < self.keep, self.keep))
