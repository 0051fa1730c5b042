"""Greedy choices: the best candidate that is left, k times, under a score that every choice changes.

All keep a candidate at most once, give ties to the lowest position and use finite fill values. That equal tokens tie is
the business of `similarity.py`.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from vtp_export.functional.loop import repeat
from vtp_export.functional.ranking import best
from vtp_export.functional.sizes import diagonal, static_size

Rows = Callable[[Tensor], Tensor]

GAIN_GRID = 2.0**20
"""Steps per unit of a logarithm of a gain, in every dtype: less than float32 can tell decides nothing."""

TAKEN = -1.0
SPENT = -1e12
"""Gain of a candidate that adds nothing; below it, at `2 * SPENT`, are those that are taken."""


def rows_of(matrix: Tensor) -> Rows:
    """A function from one position per image, (b,), to those rows of a (b, n, m) matrix, (b, m)."""
    width = static_size(matrix, -1)
    # Not rows of a flat view: a loop must not read a tensor and a view of it, and some steps read the matrix too.
    return lambda pick: matrix.gather(1, pick[:, None, None].expand(-1, 1, width)).squeeze(1)


def farthest_first(first: Tensor, distances: Rows, k: int) -> Tensor:
    """From `first` on, the candidate farthest from all chosen ones: the max-min recursion, O(n) a round.

    Args:
        first: (b,) int64, the first choice.
        distances: from one position per image to its distances to all candidates, (b, n), none negative.
        k: how many to choose, `first` among them.

    Returns:
        (b, n) bool, k True in each row.
    """
    nearest = distances(first)  # to the closest chosen one
    place = torch.arange(static_size(nearest, -1), device=nearest.device)
    nearest = torch.where(place == first[:, None], TAKEN, nearest)

    def step(turn: Tensor | int, nearest: Tensor) -> Tensor:
        pick = best(nearest)
        return torch.where(place == pick[:, None], TAKEN, torch.minimum(nearest, distances(pick)))

    return (repeat(step, nearest, k - 1) if k > 1 else nearest) == TAKEN


def largest_determinant(kernel: Tensor, log_weight: Tensor, k: int, floor: float) -> Tensor:
    """The candidate that raises the determinant of the chosen submatrix most, k times (greedy MAP of a DPP).

    For the matrix W kernel W with a diagonal W. What a candidate multiplies the determinant by is W_i^2 times
    its residual, the part of its diagonal entry that the chosen ones do not explain. One new Cholesky row a round
    updates all residuals: O(t n) in round t, O(k^2 n) in all, and W enters the score alone.

    Args:
        kernel: (b, n, n) positive semidefinite, its diagonal 1 (or 0 for a candidate that carries nothing).
        log_weight: (b, n), log of W_i^2.
        k: how many to choose.
        floor: a residual up to this counts as explained: such candidates come last, by position, and change
            nothing. Without it duplicates divide by a residual of 0.

    Returns:
        (b, n) bool, k True in each row.
    """
    n, rows = static_size(kernel, -1), rows_of(kernel)
    place = torch.arange(n, device=kernel.device)
    slot = torch.arange(k, device=kernel.device)[:, None]

    def step(turn: Tensor | int, state: Tensor) -> Tensor:
        residual, factor = state[:, 0], state[:, 1:]  # (b, n), (b, k, n)
        gain = ((residual.clamp(min=1e-30).log() + log_weight) * GAIN_GRID).round()
        gain = torch.where(residual > floor, gain, torch.where(residual < 0, 2 * SPENT, SPENT))
        pick = best(gain)
        mine = residual.gather(1, pick[:, None])  # (b, 1)
        column = factor.gather(2, pick[:, None, None].expand(-1, k, 1))  # (b, k, 1)
        row = (rows(pick) - (column * factor).sum(1)) / mine.clamp(min=max(floor, 1e-30)).sqrt()
        row = torch.where(mine > floor, row, 0.0)
        left = torch.where(residual < 0, residual, (residual - row * row).clamp(min=0))
        left = torch.where(place == pick[:, None], TAKEN, left)
        return torch.cat([left[:, None], torch.where(slot == turn, row[:, None], factor)], dim=1)

    residual = diagonal(kernel)[:, None]
    state = torch.cat([residual, torch.zeros_like(residual).expand(-1, k, -1)], dim=1)
    return repeat(step, state, k)[:, 0] < 0
