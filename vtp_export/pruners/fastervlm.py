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

from vtp_export.functional.precision import at_least_float32
from vtp_export.functional.ranking import descending_rank, positions
from vtp_export.functional.tokens import Selection, Tokens
from vtp_export.pruners import base
from vtp_export.spec import Candidates


@dataclass(frozen=True)
class Config(base.Config):
    """Settings of FasterVLM: the budget alone."""


def needs(config: Config) -> frozenset[str]:
    """What `forward` reads."""
    return frozenset({"saliency"})


class Pruner(base.Pruner):
    """Top-k by CLS attention."""

    def __init__(self, config: Config, candidates: Candidates) -> None:
        super().__init__(config, candidates)
        self.method = base.Method(slots=self.keep, needs=needs(config))

    def forward(self, tokens: Tokens) -> Selection:
        """Choose from `saliency` (b, n)."""
        assert tokens.saliency is not None
        rank = descending_rank(at_least_float32(tokens.saliency))
        return Selection(positions(rank < self.keep, self.keep))
