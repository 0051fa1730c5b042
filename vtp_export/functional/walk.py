"""The greedy walk: take the best candidate that is left, strike out its neighbours, k times."""

import torch
from torch import Tensor

from vtp_export.functional.loop import repeat
from vtp_export.functional.ranking import positions


def greedy_walk(rank: Tensor, near: Tensor, budget: Tensor | None, k: int) -> Tensor:
    """Walk down the ranks, keeping a candidate and striking out those near it; backfill by rank.

    k rounds of "take the first that is alive, else the first that was struck out". Equal to the walk of
    the paper (section 4.3) with the backfill of its release, for every input.

    Args:
        rank: (b, n) float, a permutation of 0 .. n-1, 0 the most wanted.
        near: (b, n, n) bool, near[:, i, j]: keeping i strikes out j.
        budget: (b,) float, how many to keep, in [1, k]; the rounds past it change nothing. None for k.
        k: number of rounds.

    Returns:
        (b, k) int64 kept positions, ascending; slots past the budget hold arbitrary unkept positions.
    """
    batch, n = rank.shape
    # One number tells a candidate's state and its turn: alive 3n - rank, struck out 2n - rank, kept 0. All are whole
    # and below 2^24, so float32 holds them exactly and no two are equal but the zeros. To keep one is to lower all to
    # its row of caps at most, which is one small kernel on a GPU, where a round takes as long as its kernels are many.
    place = torch.arange(n, device=rank.device)
    caps = torch.where(near, 2 * n - rank[:, None], 3.0 * n)
    caps = torch.where(place[:, None] == place, 0.0, caps).reshape(-1, n)  # (b n, n)
    offset = torch.arange(batch, device=rank.device) * n

    def step(turn: Tensor | int, priority: Tensor) -> Tensor:
        pick = priority.argmax(1)  # (b,)
        after = torch.minimum(priority, caps.index_select(0, pick + offset))
        return after if budget is None else torch.where((turn < budget)[:, None], after, priority)

    priority = repeat(step, 3 * n - rank, k)
    return positions(priority == 0, k)
