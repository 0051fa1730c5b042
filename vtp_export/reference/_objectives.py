"""What methods strive for, as numbers of a kept set under an image's signals: positive, the larger the better.

By these a set that differs from the reference's is found as good, or not: a greedy walk that meets one near-tie early
keeps many other tokens, and they may be worth as much.
"""

from collections.abc import Callable

import numpy as np

from vtp_export.reference._similarity import cosines
from vtp_export.reference.base import Objective, Settings, Signals

LEAST = 1e-12
"""Of a direction's share in a volume: what is less is rounding."""


def mass(signal: str = "saliency") -> Objective:
    """The attention that the kept tokens hold.

    Args:
        signal: which attention, a field of `Signals`.
    """

    def worth(signals: Signals, settings: Settings, kept: np.ndarray) -> float:
        return float(_array(signals, signal)[kept].sum())

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


def spread() -> Objective:
    """How far a kept token lies from the nearest other kept one, in the method's metric, mean.

    The mean, and not the least, which one near-tie decides.
    """

    def worth(signals: Signals, settings: Settings, kept: np.ndarray) -> float:
        tokens = _array(signals, "projected")[kept]
        if len(tokens) < 2:
            return 1.0
        if settings.get("metric", "cosine") == "cosine":
            distance = 1 - cosines(tokens)
        else:
            square = (tokens**2).sum(1)
            distance = np.sqrt(np.maximum(square[:, None] + square - 2 * tokens @ tokens.T, 0))
        np.fill_diagonal(distance, np.inf)
        return float(distance.min(1).mean())

    return Objective("spread", "distance of a kept token to the nearest other, mean", worth)


def volume(kernel: Callable[[Signals, Settings], np.ndarray]) -> Objective:
    """The determinant of the kernel of the kept tokens, as a geometric mean over them.

    Args:
        kernel: (n, n), positive semidefinite.
    """

    def worth(signals: Signals, settings: Settings, kept: np.ndarray) -> float:
        whole = kernel(signals, settings)[np.ix_(kept, kept)]
        values = np.maximum(np.linalg.eigvalsh(whole), LEAST)
        return float(np.exp(np.log(values).mean()))

    return Objective("volume", "determinant of the kept tokens' kernel, geometric mean", worth)


def _array(signals: Signals, name: str) -> np.ndarray:
    values = getattr(signals, name)
    assert isinstance(values, np.ndarray)
    return values.astype(np.float64)
