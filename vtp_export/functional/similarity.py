"""Cosines of tokens, and the Gram matrix whose eigenvalues give the effective rank.

Greedy methods break a tie by the position only if equal tokens get equal numbers, and a matrix product does not promise
that: the same row may round otherwise at another place. Therefore `cosines` are rounded to a grid, `snapped`, and a
duplicate gets the numbers of the first token equal to it, `of_originals`. The walk of AgilePruner has no such ties, and
a floor under its norms: `cosine_distance`.
"""

import torch
from torch import Tensor

from vtp_export.functional.products import product
from vtp_export.functional.ranking import best
from vtp_export.functional.sizes import diagonal, static_size

NORM_FLOOR = 1e-8  # added to every norm, as the released AgilePruner does, so that a zero token is far from all

PIECES = 8
"""Of the sums over tokens in the d x d Gram matrix of `spectral_gram`: a trained tower's smallest energies drown in
their rounding, of which eight short sums leave a third. The sums over channels in the n x n one are long, and libraries
cut those by themselves."""

GRID = {torch.float32: 2.0**22, torch.float64: 2.0**32}
"""Steps per unit. In float32 the step is the rounding of a cosine; in float64 sums of 2^20 such numbers are exact."""


def cosine_distance(features: Tensor) -> Tensor:
    """1 - cosine between all pairs.

    From unit vectors and not from the centred Gram matrix that erank needs anyway: adding the mean back to that one
    would save a product, and lose the small tokens beside one huge token, or all of a zero token.

    Args:
        features: (b, n, d) at least float32.

    Returns:
        (b, n, n) in [0, 2]. Clamped at 0, because rounding may put a duplicate slightly below.
    """
    unit = features / (features.norm(dim=-1, keepdim=True) + NORM_FLOOR)
    distance: Tensor = 1 - unit @ unit.transpose(-1, -2)
    return distance.clamp(min=0)


def snapped(values: Tensor) -> Tensor:
    """Round to the grid of the dtype, so that what differs by rounding alone ties.

    Args:
        values: float32 or float64, of a magnitude of about 1.

    Example:
        >>> snapped(torch.tensor([1 / 3], dtype=torch.float64)).item() == round(2**32 / 3) / 2**32
        True
    """
    grid = GRID[values.dtype]
    return (values * grid).round() / grid


def unit_tokens(features: Tensor) -> Tensor:
    """Tokens (b, n, d) at length 1; a zero token stays zero."""
    unit: Tensor = features / features.norm(dim=-1, keepdim=True).clamp(min=1e-12)
    return unit


def cosines(features: Tensor) -> Tensor:
    """Cosines between all pairs, snapped. A zero token has cosine 0 with all, itself included.

    Args:
        features: (b, n, d) at least float32.

    Returns:
        (b, n, n) in [-1, 1], exactly 1 between equal tokens.
    """
    unit = unit_tokens(features)
    cosine = unit @ unit.transpose(-1, -2)
    original = originals(features, cosine)
    cosine = snapped(of_originals(cosine, original)).clamp(-1, 1)
    with_itself = (features != 0).any(-1).to(cosine.dtype)  # (b, n)
    return torch.where(original[:, :, None] == original[:, None, :], with_itself[:, None], cosine)


def originals(features: Tensor, gram: Tensor) -> Tensor:
    """The first token that each token equals, itself where it is the first of its kind.

    Two tokens are equal if a few of their channels are, bit for bit, and their product is that of each with itself up
    to rounding. Comparing all channels would cost as much as the product.

    Args:
        features: (b, n, d).
        gram: (b, n, n) products of the tokens or of what each was turned into.

    Returns:
        (b, n) int64.
    """
    d = static_size(features, -1)
    size = diagonal(gram) * (1 - 2.0**-16)
    equal = (gram >= size[:, :, None]) & (gram >= size[:, None, :])
    for channel in {0, d // 3, d // 2, d - 1}:
        value = features[:, :, channel]
        equal = equal & (value[:, :, None] == value[:, None, :])
    return best(equal.float())


def of_originals(matrix: Tensor, original: Tensor) -> Tensor:
    """A (b, n, n) matrix in which every token has the row and the column of its original, (b, n)."""
    rows = matrix.gather(1, original[:, :, None].expand_as(matrix))
    return rows.gather(2, original[:, None, :].expand_as(matrix))


def spectral_gram(features: Tensor, center: bool) -> tuple[Tensor, bool]:
    """The smaller Gram matrix, with the squared singular values of the (centred) tokens as eigenvalues.

    Where tokens outnumber channels it is the d x d one: the null space of the other would carry nothing but noise.

    Args:
        features: (b, n, d) at least float32.
        center: whether to subtract the mean over tokens first.

    Returns:
        (b, m, m), m = min(n, d), and whether the ones vector is an exact null vector of it.
    """
    n = static_size(features, -2)
    if center:
        # A product with a row of 1/n, because runtimes reduce over rows several times slower than they multiply.
        features = features - features.new_full((1, n), 1 / n) @ features
    if static_size(features, -1) < n:
        return product(features.transpose(-1, -2), features, PIECES), False
    return features @ features.transpose(-1, -2), center
