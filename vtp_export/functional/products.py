"""Matrix products in float32 that round less."""

import functools

import torch
from torch import Tensor

from vtp_export.functional.sizes import static_size


def product(left: Tensor, right: Tensor, pieces: int) -> Tensor:
    """(b, n, k) times (b, k, m) in pieces of k: the sum of a few short sums rounds less than one long sum."""
    k = static_size(left, -1)
    piece = -(-k // pieces)
    products = [left[:, :, i : i + piece] @ right[:, i : i + piece] for i in range(0, k, piece)]
    return functools.reduce(torch.add, products)
