"""Effective rank and attention entropy, as their papers write them.

Sources: O. Roy and M. Vetterli, "The effective rank: a measure of effective dimensionality", EUSIPCO 2007;
AgilePruner, eq. 1-2 (attention entropy) and eq. 3 and 7 (effective rank of the token features).
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vtp_export.reference.base import Settings, Signals


def effective_rank(features: ArrayLike, center: bool) -> float:
    """Exponential of the Shannon entropy of the normalised singular values (Roy & Vetterli 2007; AgilePruner eq. 3).

    With singular values s and q = s / sum(s): erank = exp(-sum q ln q), where 0 ln 0 = 0.

    Args:
        features: (n, d) token features, any real dtype; all arithmetic is float64.
        center: subtract the mean over tokens first.

    Returns:
        The effective rank, in [1, min(n, d)]; exactly 1.0 when every singular value is zero.

    Example:
        >>> round(effective_rank(np.eye(4), center=False), 12)
        4.0
    """
    x = np.asarray(features, dtype=np.float64)
    if center:
        x = x - x.mean(axis=0, keepdims=True)
    return _of_spectrum(np.linalg.svd(x, compute_uv=False))


def effective_rank_by_gram(features: ArrayLike) -> float:
    """The same of features as they are, by their products: some 1e-7 off, and quick for thousands of tokens.

    Args:
        features: (n, d), any real dtype.

    Returns:
        As `effective_rank`; NaN where a feature is not finite, 1.0 where there is none.

    Example:
        >>> round(effective_rank_by_gram(np.eye(4)), 6)
        4.0
    """
    x = np.asarray(features, dtype=np.float64)
    if not np.isfinite(x).all():
        return float("nan")
    gram = x @ x.T if len(x) <= x.shape[1] else x.T @ x
    return _of_spectrum(np.sqrt(np.clip(np.linalg.eigvalsh(gram), 0.0, None)))


def attention_entropy(saliency: ArrayLike) -> float:
    """Shannon entropy, in nats, of attention renormalised over the patches (AgilePruner eq. 1-2).

    Args:
        saliency: (n,) non-negative attention of the class token to every patch, not all zero.

    Returns:
        H(p) = -sum p ln p with p = saliency / sum(saliency) and 0 ln 0 = 0, in [0, ln n].

    Example:
        >>> round(attention_entropy([1.0, 1.0, 0.0, 0.0]), 12) == round(float(np.log(2)), 12)
        True
    """
    a = np.asarray(saliency, dtype=np.float64)
    return _entropy(a / a.sum())


def complexity_of(signals: Signals, settings: Settings) -> float:
    """The one that the settings ask for, or what the signals say that it is.

    Args:
        signals: with `projected` for erank, `saliency` for entropy.
        settings: `complexity`, "erank" or "entropy", and `center`.
    """
    if signals.complexity is not None:
        return signals.complexity
    if settings["complexity"] == "entropy":
        assert signals.saliency is not None
        return attention_entropy(signals.saliency)
    assert signals.projected is not None
    return effective_rank(signals.projected, bool(settings["center"]))


def _of_spectrum(singular: NDArray[np.floating]) -> float:
    total = singular.sum()
    return 1.0 if total == 0.0 else float(np.exp(_entropy(singular / total)))


def _entropy(p: NDArray[np.float64]) -> float:
    positive = p[p > 0.0]  # the limit of p ln p at 0 is 0
    return float(-(positive * np.log(positive)).sum())
