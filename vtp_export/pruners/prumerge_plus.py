"""PruMerge+: as PruMerge, with tokens from all over the image beside the outliers of attention.

Attention, merging and the extra token are those of `prumerge`; the picks:

- count=adaptive, as released: with m outliers of n, every s-th token, s = floor(floor(n / m) / 3), but for the last one
  of the image and the outliers themselves; about 4 m in all. Where s would be 0 (the release fails) it is 1.
- count=fixed: a quarter of the keep - 1 picks by attention, to the nearest, and the others evenly from the tokens left.
  This is the proportion of the released rule at any budget; it is not the authors', whose recipe for fixed budgets is
  not public.

Output: picks by attention, then those from all over in spatial order, then the extra token, for which `kept` is -1.

Source: Shang et al., "LLaVA-PruMerge: Adaptive Token Reduction for Efficient Large Multimodal Models" (ICCV 2025);
repository 42Shawn/LLaVA-PruMerge.
Licence: Apache-2.0.
Differs: as `prumerge`: the release is followed, which reads the last layer and divides nothing. The fixed budget is
ours; the release's patch n - 1 is never sampled, here neither.
Cost: as `prumerge`; with count=adaptive the output is n + 1 wide, padded.
Published: 95.64 / 92.76 / 87.01 at 128 / 64 / 32 tokens (% of the full model, LLaVA-1.5-7B, mean of nine benchmarks,
AgilePruner's Table 7), by a fixed budget whose recipe is not public.
Use it when: tokens from all over the image matter, where `prumerge` keeps outliers alone.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from vtp_export.functional.sizes import earlier, static_size
from vtp_export.pruners._prumerge import MergeConfig, MergePruner, needs, outliers
from vtp_export.spec import Candidates

__all__ = ["Config", "Pruner", "needs"]


@dataclass(frozen=True)
class Config(MergeConfig):
    """Settings of PruMerge+, see `MergeConfig`."""


class Pruner(MergePruner):
    """The most attended and an even sample, merged."""

    stride: Tensor
    """(n + 1,) step of the sample for each number of outliers."""
    sampled: Tensor
    """(n - top,) whether the i-th token that attention has not picked is sampled under a fixed budget."""

    def __init__(self, config: Config, candidates: Candidates) -> None:
        super().__init__(config, candidates, candidates.n + 1, by_place=True)
        strides = [1, *(max(1, int(int(1 / (m / candidates.n)) / 3)) for m in range(1, candidates.n + 1))]
        self.register_buffer("stride", torch.tensor(strides), persistent=False)
        self.top = (self.method.slots - 1 + 2) // 4
        left, sample = candidates.n - self.top, self.method.slots - 1 - self.top
        sampled = torch.zeros(left, dtype=torch.bool)
        sampled[[i * left // sample for i in range(sample)]] = True
        self.register_buffer("sampled", sampled, persistent=False)

    def picks(self, attention: Tensor, rank: Tensor) -> tuple[Tensor, Tensor]:
        place = torch.arange(static_size(rank, -1), device=rank.device)
        if self.adaptive:
            top = outliers(attention, rank)
            step = self.stride.index_select(0, top)[:, None]
            spread = (place % step == 0) & (place < static_size(rank, -1) - 1)
        else:
            top = torch.full_like(rank[:, 0], self.top).long()
            unpicked = _before(rank >= self.top)  # turn among those that attention has not picked
            spread = self.sampled.index_select(
                0, unpicked.clamp(max=static_size(rank, -1) - self.top - 1).flatten()
            ).view_as(rank)
        first = rank < top[:, None]
        spread = spread & ~first
        slot = torch.where(first, rank.long(), torch.where(spread, top[:, None] + _before(spread), -1))
        return slot, top + spread.sum(-1)


def _before(chosen: Tensor) -> Tensor:
    """How many chosen come before each place, (b, n) int64; by a product, exact in float32."""
    before = earlier(static_size(chosen, -1), chosen).float()
    return (before @ chosen.float()[:, :, None]).squeeze(-1).long()
