"""Orders and positions without a sort: by counting, exact, the lowest index winning every tie."""

import torch
from torch import Tensor

from vtp_export.functional.sizes import earlier


def descending_rank(scores: Tensor) -> Tensor:
    """Rank of each score in descending order, 0 for the largest.

    rank_i = #{j: s_j > s_i} + #{j < i: s_j = s_i}. No runtime can break these ties otherwise, which a sort
    operator does not promise.

    Args:
        scores: (b, n).

    Returns:
        (b, n) whole numbers in the dtype of `scores`.

    Example:
        >>> descending_rank(torch.tensor([[1.0, 3.0, 3.0]])).tolist()
        [[2.0, 0.0, 1.0]]
    """
    n = scores.shape[-1]  # no `static_size`: rounds of a loop call this, where no warning can be silenced
    mine, other = scores[:, :, None], scores[:, None, :]
    before = (other > mine) | ((other == mine) & earlier(n, scores))
    return before.to(scores.dtype).sum(-1)


def positions(chosen: Tensor, k: int) -> Tensor:
    """Positions of the chosen candidates, ascending; the first unchosen ones fill up to k.

    Args:
        chosen: (b, n) bool with at most k True in each row.
        k: how many positions to return.

    Returns:
        (b, k) int64. The keys are unique whole numbers, so no runtime sees a tie.

    Example:
        >>> positions(torch.tensor([[False, True, False, True]]), 2).tolist()
        [[1, 3]]
    """
    n = chosen.shape[-1]
    place = torch.arange(n, device=chosen.device, dtype=torch.float32)
    key = torch.where(chosen, 2 * n - place, n - place)
    return key.topk(k, dim=-1).indices


def everything(like: Tensor) -> Tensor:
    """All positions of (b, n, ...) candidates: (b, n) int64."""
    batch, n = like.shape[0], like.shape[1]
    return torch.arange(n, device=like.device).expand(batch, n)


def best(score: Tensor) -> Tensor:
    """Position of the largest score, the lowest where several are equal.

    Args:
        score: (..., n).

    Returns:
        (...,) int64. The operator that looks for it sees one largest value, so no runtime has a tie to break.

    Example:
        >>> best(torch.tensor([[1.0, 3.0, 3.0]])).tolist()
        [1]
    """
    turn = torch.arange(score.shape[-1], 0, -1, device=score.device, dtype=torch.float32)
    return torch.where(score == score.amax(-1, keepdim=True), turn, 0.0).argmax(-1)
