"""What PruMerge and PruMerge+ share: outliers of attention, neighbours by key, the mixture.

Source: Shang et al., "LLaVA-PruMerge: Adaptive Token Reduction for Efficient Large Multimodal Models" (ICCV 2025);
repository 42Shawn/LLaVA-PruMerge (Apache-2.0).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from vtp_export.functional.merging import one_hot
from vtp_export.functional.precision import at_least_float32
from vtp_export.functional.ranking import descending_rank
from vtp_export.functional.similarity import snapped, unit_tokens
from vtp_export.functional.sizes import static_size
from vtp_export.functional.tokens import Selection, Tokens
from vtp_export.pruners import base
from vtp_export.settings import one_of
from vtp_export.spec import Candidates

NEIGHBOURS = 32


@dataclass(frozen=True)
class MergeConfig(base.Config):
    """Settings of PruMerge and PruMerge+.

    keep: how many tokens under count=fixed, the extra one among them; count=adaptive ignores it.
    count: "fixed", a budget that is not the authors' (see the method), or "adaptive", the number of outliers, as
        released.
    """

    count: str = one_of("fixed", "fixed", "adaptive", source="this package: the release has no budget")

    @property
    def budget(self) -> int | None:
        """None where the outliers alone decide."""
        return None if self.count == "adaptive" else self.keep


def needs(config: MergeConfig) -> frozenset[str]:
    """What `forward` reads."""
    return frozenset({"following_saliency", "following_keys"})


def most_outliers(n: int) -> int:
    """How many of n numbers can lie above their third quartile."""
    return n - 1 - math.floor(0.75 * (n - 1))


class MergePruner(base.Pruner):
    """Picks of a method, each with its neighbours added, and one token for all that was not picked.

    Args:
        config: resolved.
        candidates: see `base.Pruner`.
        widest: most tokens that an adaptive count can reach, the extra one included.
        by_place: see `base.Method`.
    """

    def __init__(self, config: MergeConfig, candidates: Candidates, widest: int, by_place: bool) -> None:
        super().__init__(config, candidates)
        self.adaptive = config.count == "adaptive"
        slots = widest if self.adaptive else self.keep
        self.method = base.Method(slots=slots, needs=needs(config), ascending=False, merges=True, by_place=by_place)

    def picks(self, attention: Tensor, rank: Tensor) -> tuple[Tensor, Tensor]:
        """From attention (b, n) and its descending rank to the slot of each token, and how many slots are taken.

        Returns:
            (b, n) int64, -1 for none, and (b,) int64.
        """
        raise NotImplementedError

    def forward(self, tokens: Tokens) -> Selection:
        """Choose from `following_saliency` (b, n), merge by `following_keys` (b, n, dv)."""
        assert tokens.following_saliency is not None and tokens.following_keys is not None
        attention = at_least_float32(tokens.following_saliency)
        slot, count = self.picks(attention, descending_rank(attention))
        picked = one_hot(slot, self.method.slots, attention).transpose(1, 2)  # (b, k, n)
        unit = unit_tokens(at_least_float32(tokens.following_keys))
        near = _nearest(snapped((picked @ unit) @ unit.transpose(-1, -2)), picked)
        real = picked.sum(-1, keepdim=True)  # 1 where the slot holds a pick
        place = torch.arange(static_size(attention, -1), device=slot.device)
        kept = (picked * place).sum(-1).long() - (1 - real[:, :, 0]).long()  # -1 in slots without a pick
        rest = torch.where(slot < 0, attention, 0.0)[:, None]
        extra = (torch.arange(self.method.slots, device=slot.device) == count[:, None])[:, :, None]
        mix = picked + near * real * attention[:, None] + torch.where(extra, rest, 0.0)
        return Selection(kept, mix, num_kept=count + 1 if self.adaptive else None)


def _nearest(cosine: Tensor, itself: Tensor) -> Tensor:
    """The 32 largest of each row, (b, k, n) of 0 and 1, `itself` left out, ties to the lowest position."""
    n = static_size(cosine, -1)
    many = min(NEIGHBOURS, n - 1)
    if many == 0:
        return torch.zeros_like(cosine)
    cosine = torch.where(itself > 0, -4.0, cosine)
    last = cosine.topk(many, dim=-1).values[:, :, -1:]  # a value, so that ties do not matter
    above, equal = (cosine > last).to(cosine.dtype), (cosine == last).to(cosine.dtype)
    upper = torch.ones(n, n, dtype=cosine.dtype, device=cosine.device).triu()
    turn = equal @ upper  # how many equals up to here
    return above + torch.where(turn <= many - above.sum(-1, keepdim=True), equal, 0.0)


def outliers(attention: Tensor, rank: Tensor) -> Tensor:
    """How many weights of attention lie more than 1.5 interquartile ranges above the third quartile, at least 1.

    Args:
        attention: (b, n).
        rank: its descending rank.

    Returns:
        (b,) int64. Quartiles interpolate linearly.
    """
    first, third = _quantile(attention, rank, 0.25), _quantile(attention, rank, 0.75)
    return (attention > third + 1.5 * (third - first)).sum(-1).clamp(min=1)


def _quantile(values: Tensor, rank: Tensor, q: float) -> Tensor:
    """(b, 1), between the two nearest of the sorted values."""
    n = static_size(values, -1)
    below = math.floor(q * (n - 1))
    low, high = (
        torch.where(rank == n - 1 - min(place, n - 1), values, 0.0).sum(-1, keepdim=True)
        for place in (below, below + 1)
    )
    share = q * (n - 1) - below
    # From the nearer end, which is how NumPy interpolates.
    return low + (high - low) * share if share < 0.5 else high - (high - low) * (1 - share)
