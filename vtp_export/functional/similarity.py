"""Inner products of tokens, and the cosine distances they give."""

from typing import NamedTuple

from torch import Tensor

from vtp_export.functional.sizes import static_size

NORM_FLOOR = 1e-8  # added to every norm, as the released AgilePruner does, so that a zero token is far from all


class Grams(NamedTuple):
    """One product serves two readers.

    raw: (b, n, n) inner products of the tokens.
    spectrum: (b, m, m) with the squared singular values of the (centred) tokens as eigenvalues.
    null_ones: whether the ones vector is an exact null vector of `spectrum`.
    """

    raw: Tensor
    spectrum: Tensor
    null_ones: bool


def grams(features: Tensor, center: bool) -> Grams:
    """Inner products for the distances and for the effective rank.

    The centred product is computed and the raw one derived from it: adding the mean back is stable, while
    centring a raw product would cancel digits. Where tokens outnumber channels the spectrum is taken from
    the smaller d x d product, whose null space carries no rounding noise.

    Args:
        features: (b, n, d) at least float32.
        center: whether the spectrum is that of the tokens less their mean.
    """
    n, d = static_size(features, -2), static_size(features, -1)
    if not center:
        raw = features @ features.transpose(-1, -2)
        return Grams(raw, features.transpose(-1, -2) @ features if d < n else raw, False)
    mean = features.mean(-2, keepdim=True)  # (b, 1, d)
    centred = features - mean
    inner = centred @ centred.transpose(-1, -2)  # (b, n, n)
    cross = centred @ mean.transpose(-1, -2)  # (b, n, 1)
    raw = inner + (cross + cross.transpose(-1, -2)) + (mean * mean).sum(-1, keepdim=True)
    if d < n:
        return Grams(raw, centred.transpose(-1, -2) @ centred, False)
    return Grams(raw, inner, True)


def cosine_distance(features: Tensor, raw: Tensor) -> Tensor:
    """1 - cosine between all pairs, from their inner products.

    Args:
        features: (b, n, d) at least float32.
        raw: (b, n, n) their inner products.

    Returns:
        (b, n, n) in [0, 2]. Clamped at 0, because rounding may put a duplicate slightly below.
    """
    norm = features.norm(dim=-1) + NORM_FLOOR  # (b, n)
    distance: Tensor = 1 - raw / (norm[:, :, None] * norm[:, None, :])
    return distance.clamp(min=0)
