"""FasterVLM: keep the k tokens that CLS attends to most.

Source: Zhang et al. 2024, "[CLS] attention is all you need for training-free visual token pruning"; repository
Theia-4869/FasterVLM (Apache-2.0). Code and paper agree. Kept tokens stay in spatial order, CLS is dropped.
Ties go to the lowest position, where the release leaves them undefined.

Use it where speed counts most or hallucination matters most: one sort, and nothing else but CLS attention.
"""

from dataclasses import dataclass

from torch import nn

from vtp_export.functional.precision import at_least_float32
from vtp_export.functional.ranking import descending_rank, positions
from vtp_export.functional.tokens import Selection, Tokens
from vtp_export.pruners.base import check_keep

NEEDS = ("saliency",)
STAGE = "hidden"


@dataclass(frozen=True)
class Config:
    """keep: how many tokens."""

    keep: int = 64


class Pruner(nn.Module):
    """Top-k by CLS attention."""

    measures: tuple[str, ...] = ()

    def __init__(self, config: Config, n_tokens: int) -> None:
        super().__init__()
        self.keep = check_keep(config.keep, n_tokens)

    def forward(self, tokens: Tokens) -> Selection:
        """Choose from `saliency` (b, n)."""
        assert tokens.saliency is not None
        rank = descending_rank(at_least_float32(tokens.saliency))
        return Selection(positions(rank < self.keep, self.keep))
