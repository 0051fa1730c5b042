"""VScan, first stage: half the tokens by windows, half by the whole image, what is dropped merged into the kept.

1. Local: the grid is cut into 4 x 4 windows; each gives its floor(keep / 2) // 16 most attended tokens, by the CLS row
   of an early layer (the 6th of 24; in towers of another depth the layer at a quarter).
2. Global: the most attended of the others, by the CLS row of the select layer.
3. Each dropped token is added to the kept one of highest cosine, after the projector; a kept token becomes the
   mean of itself and what was added.

Source: Zhang et al., "VScan: Rethinking Visual Token Reduction for Efficient Large Vision-Language Models" (2025);
repository Tencent/SelfEvolvingAgent, folder VScan.
Licence: MIT.
Differs: the second stage prunes inside the language model, and cannot be part of a vision front end. The first is
followed as released, but: the release keeps fewer tokens where floor(keep / 2) is no multiple of 16; here the global
part fills the budget. A grid that 4 does not divide gets windows that differ by one row or column. Ties go to the
lowest position. CLS is dropped; output in spatial order; `kept` names the token that the others were merged into.
Cost: one n x n product, one k x n mixture, orders of n weights; in the tower a second row of attention. No loop.
Published: none for the first stage alone.
Use it when: every part of the picture must keep something, and merging is wanted.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from vtp_export.functional.merging import mixture, nearest_chosen, rank_within
from vtp_export.functional.precision import at_least_float32
from vtp_export.functional.ranking import descending_rank, positions
from vtp_export.functional.similarity import cosines
from vtp_export.functional.tokens import Selection, Tokens
from vtp_export.pruners import base
from vtp_export.spec import Candidates

WINDOWS = 4
"""Along each side."""


@dataclass(frozen=True)
class Config(base.Config):
    """Settings of VScan.

    keep: how many tokens. The paper's budgets are 96 and more, cut further inside the language model.
    """


def needs(config: Config) -> frozenset[str]:
    """What `forward` reads."""
    return frozenset({"projected", "saliency", "early_saliency"})


class Pruner(base.Pruner):
    """Windows, whole image, merging."""

    same_window: Tensor
    """(n, n) whether two patches are of one window."""

    def __init__(self, config: Config, candidates: Candidates) -> None:
        super().__init__(config, candidates)
        self.method = base.Method(slots=self.keep, needs=needs(config), stage="projected", merges=True, by_place=True)
        self.local = self.keep // 2 // WINDOWS**2
        down, across = (torch.arange(size) * WINDOWS // size for size in base.grid_of(candidates, "vscan"))
        window = (down[:, None] * WINDOWS + across).flatten()
        self.register_buffer("same_window", window[:, None] == window, persistent=False)

    def forward(self, tokens: Tokens) -> Selection:
        """Choose from `early_saliency` (b, n) and `saliency` (b, n), merge by `projected` (b, n, d)."""
        assert tokens.projected is not None and tokens.saliency is not None and tokens.early_saliency is not None
        local = rank_within(at_least_float32(tokens.early_saliency), self.same_window) < self.local
        saliency = at_least_float32(tokens.saliency)  # at most 1, so that 2 is above all
        chosen = descending_rank(torch.where(local, 2.0, saliency)) < self.keep
        kept = positions(chosen, self.keep)
        label = nearest_chosen(cosines(at_least_float32(tokens.projected)), chosen)
        return Selection(kept, mixture(label, kept, torch.ones_like(saliency)))
