"""Who goes with whom: ranks inside groups, the most similar chosen token, and the mixtures that follow from labels."""

import torch
from torch import Tensor

from vtp_export.functional.ranking import best
from vtp_export.functional.sizes import earlier, static_size


def one_hot(index: Tensor, size: int, like: Tensor) -> Tensor:
    """(b, k) positions to (b, k, size) rows with a single 1, in the dtype of `like`; -1 gives a row of zeros.

    Example:
        >>> one_hot(torch.tensor([[1, -1]]), 3, torch.zeros(1)).tolist()
        [[[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]]
    """
    return (index[:, :, None] == torch.arange(size, device=index.device)).to(like.dtype)


def rank_within(scores: Tensor, same: Tensor) -> Tensor:
    """Rank of each score among those of its own group, 0 for the largest, ties to the lowest position.

    Args:
        scores: (b, n).
        same: (b, n, n) or (n, n) bool, whether two candidates are of one group.

    Returns:
        (b, n) whole numbers in the dtype of `scores`.

    Example:
        >>> same = torch.tensor([[True, False, True], [False, True, False], [True, False, True]])
        >>> rank_within(torch.tensor([[1.0, 3.0, 2.0]]), same).tolist()
        [[1.0, 0.0, 0.0]]
    """
    n = static_size(scores, -1)
    mine, other = scores[:, :, None], scores[:, None, :]
    before = ((other > mine) | ((other == mine) & earlier(n, scores))) & same
    return before.to(scores.dtype).sum(-1)


def nearest_chosen(cosine: Tensor, chosen: Tensor) -> Tensor:
    """The chosen candidate that each candidate is most similar to; a chosen one is its own.

    Args:
        cosine: (b, n, n).
        chosen: (b, n) bool, at least one True in each row.

    Returns:
        (b, n) int64 positions, ties to the lowest.
    """
    n = static_size(cosine, -1)
    place = torch.arange(n, device=cosine.device)
    nearest = best(torch.where(chosen[:, None, :], cosine, -4.0).reshape(-1, n)).reshape(-1, n)
    return torch.where(chosen, place, nearest)


def mixture(label: Tensor, kept: Tensor, weight: Tensor) -> Tensor:
    """Weighted means of the candidates that carry one label.

    Args:
        label: (b, n) int64 the anchor that each candidate is merged into.
        kept: (b, k) int64 the anchors in output order.
        weight: (b, n) positive.

    Returns:
        (b, k, n); the weights of each token sum to 1.
    """
    share = torch.where(label[:, None, :] == kept[:, :, None], weight[:, None, :], 0.0)
    return share / share.sum(-1, keepdim=True)
