"""What methods strive for, as numbers of a kept set under an image's signals: positive, the larger the better.

By these a set that differs from the reference's is found as good, or not: a greedy walk that meets one near-tie early
keeps many other tokens, and they may be worth as much.
"""

from collections.abc import Callable

import numpy as np

from vtp_export.reference._similarity import cosines
from vtp_export.reference.base import Objective, Settings, Signals

TINY = 1e-12
"""Of a distance or a volume: what is less is nothing, so that a ratio of two of them stays a number."""


def mass(signal: str = "saliency") -> Objective:
    """The share of the attention that the kept tokens hold.

    Args:
        signal: which attention, a field of `Signals`.
    """

    def worth(signals: Signals, settings: Settings, kept: np.ndarray) -> float:
        attention = _array(signals, signal)
        return float(attention[kept].sum() / max(attention.sum(), TINY))

    return Objective("mass", "attention that the kept tokens hold", worth)


def coverage(features: str = "projected") -> Objective:
    """How like its nearest kept token a candidate is: the mean over all candidates of the cosine, on a scale of 0 to 1.

    Args:
        features: of which tokens, a field of `Signals`.
    """

    def worth(signals: Signals, settings: Settings, kept: np.ndarray) -> float:
        similarity = cosines(_array(signals, features))[:, kept]
        return float((1 + similarity.max(1)).mean() / 2)

    return Objective("coverage", "likeness of a token to its nearest kept one, mean", worth)


def spread(features: str = "projected", metric: str = "cosine") -> Objective:
    """How far a kept token lies from the nearest other kept one, mean.

    The mean, and not the least, which one near-tie decides.
    """

    def worth(signals: Signals, settings: Settings, kept: np.ndarray) -> float:
        tokens = _array(signals, features)[kept]
        if len(tokens) < 2:
            return 1.0
        if settings.get("metric", metric) == "cosine":
            distance = 1 - cosines(tokens)
        else:
            square = (tokens**2).sum(1)
            distance = np.sqrt(np.maximum(square[:, None] + square - 2 * tokens @ tokens.T, 0))
        np.fill_diagonal(distance, np.inf)
        return max(float(distance.min(1).mean()), TINY)

    return Objective("spread", "distance of a kept token to the nearest other, mean", worth)


def volume(kernel: Callable[[Signals, Settings], np.ndarray]) -> Objective:
    """The determinant of the kernel of the kept tokens, as a geometric mean over them.

    Args:
        kernel: (n, n), positive semidefinite.
    """

    def worth(signals: Signals, settings: Settings, kept: np.ndarray) -> float:
        whole = kernel(signals, settings)[np.ix_(kept, kept)]
        values = np.maximum(np.linalg.eigvalsh(whole), TINY)
        return float(np.exp(np.log(values).mean()))

    return Objective("volume", "determinant of the kept tokens' kernel, geometric mean", worth)


def _array(signals: Signals, name: str) -> np.ndarray:
    values = getattr(signals, name)
    assert isinstance(values, np.ndarray)
    return values.astype(np.float64)
