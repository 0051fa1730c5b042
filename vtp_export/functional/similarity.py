"""Cosine distances of tokens, and the Gram matrix whose eigenvalues give the effective rank."""

from torch import Tensor

from vtp_export.functional.sizes import static_size

NORM_FLOOR = 1e-8  # added to every norm, as the released AgilePruner does, so that a zero token is far from all


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
        return features.transpose(-1, -2) @ features, False
    return features @ features.transpose(-1, -2), center
