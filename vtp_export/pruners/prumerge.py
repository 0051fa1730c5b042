"""PruMerge: the outliers of attention, each with its nearest tokens added, and one token for the rest.

1. Attention: the CLS row of the layer after the select layer, taken as one head of the tower's full width.
2. Picks, in order of attention: count=adaptive, the tokens above the third quartile by more than 1.5 interquartile
   ranges (as released); count=fixed, the keep - 1 most attended. No recipe for the fixed budgets in the tables of
   others is public.
3. To each pick its 32 nearest tokens by cosine of that layer's keys are added, weighted by their attention.
4. An extra token at the end: the attention-weighted sum of all that was not picked.

Source: Shang et al., "LLaVA-PruMerge: Adaptive Token Reduction for Efficient Large Multimodal Models" (ICCV 2025);
repository 42Shawn/LLaVA-PruMerge, whose `forward` calls the plus variant; this is the plain one.
Licence: Apache-2.0.
Differs: the paper reads the penultimate layer and takes weighted means; the release, which is followed, reads the last
layer and divides nothing. Where there is no outlier (the release fails) there is one. Ties go to the lowest position.
CLS takes no part. Not in spatial order; `kept` is -1 for the extra token.
Cost: one k x n product of keys, a selection of 32 in each row, one k x n mixture; in the tower the keys and one row of
attention of the layer after the select layer.
Published: none at a fixed budget, whose recipe is not public.
Use it when: published rows are to be repeated, or what is dropped must still leave a trace; not at small fixed budgets.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from vtp_export.pruners._prumerge import MergeConfig, MergePruner, most_outliers, needs, outliers
from vtp_export.spec import Candidates

__all__ = ["Config", "Pruner", "needs"]


@dataclass(frozen=True)
class Config(MergeConfig):
    """Settings of PruMerge, see `MergeConfig`."""


class Pruner(MergePruner):
    """The most attended, merged."""

    def __init__(self, config: Config, candidates: Candidates) -> None:
        super().__init__(config, candidates, max(most_outliers(candidates.n), 1) + 1, by_place=False)

    def picks(self, attention: Tensor, rank: Tensor) -> tuple[Tensor, Tensor]:
        count = outliers(attention, rank) if self.adaptive else torch.full_like(rank[:, 0], self.keep - 1).long()
        return torch.where(rank < count[:, None], rank, -1.0).long(), count
