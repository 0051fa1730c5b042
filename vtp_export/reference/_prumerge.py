"""PruMerge, literally: outliers, and the mixture of given picks."""

import numpy as np

from vtp_export.reference._similarity import cosines
from vtp_export.reference.base import Choice, Outcome, Signals, taken


def outliers(attention: np.ndarray) -> int:
    """Weights more than 1.5 interquartile ranges above the third quartile, at least one."""
    first, third = np.percentile(attention, [25, 75])
    return max(1, int((attention > third + 1.5 * (third - first)).sum()))


def merged(signals: Signals, choices: tuple[Choice, ...]) -> Outcome:
    """Each pick with its 32 nearest, and an extra token."""
    attention, keys = signals.following_saliency, signals.following_keys
    assert attention is not None and keys is not None
    n, picks = signals.n, [choice.token for choice in choices]
    cosine = cosines(keys)
    mix = np.zeros((len(picks) + 1, n))
    for row, i in enumerate(picks):
        nearest = sorted((j for j in range(n) if j != i), key=lambda j: (-cosine[i, j], j))[:32]
        mix[row, i] = 1
        for j in nearest:
            mix[row, j] = attention[j]
    for j in set(range(n)) - set(picks):
        mix[-1, j] = attention[j]
    return Outcome(np.array([*picks, -1]), mix=mix, choices=choices + taken("all that was not picked, together", [-1]))
