"""CDPruner's determinantal point process without the question, optionally weighted by CLS attention."""

import numpy as np

from vtp_export.reference._determinant import greedy
from vtp_export.reference._objectives import volume
from vtp_export.reference._similarity import cosines
from vtp_export.reference.base import Outcome, Settings, Signals


def _relevance(signals: Signals, settings: Settings) -> np.ndarray:
    if settings["relevance"] != "saliency":
        return np.ones(signals.n)
    assert signals.saliency is not None
    attention = signals.saliency.astype(np.float64)
    low, high = attention.min(), attention.max()
    scaled: np.ndarray = (attention - low + 1e-6) / (high - low + 1e-6)
    return scaled


def _kernel(signals: Signals, settings: Settings) -> np.ndarray:
    assert signals.projected is not None
    relevance = _relevance(signals, settings)
    weighted: np.ndarray = relevance[:, None] * cosines(signals.projected.astype(np.float64)) * relevance
    return weighted


MAXIMISES = (volume(_kernel),)
WALK = True


def select(signals: Signals, settings: Settings) -> Outcome:
    """Greedy MAP of the kernel r_i cos_ij r_j."""
    assert signals.projected is not None
    relevance = _relevance(signals, settings)
    kernel = cosines(signals.projected.astype(np.float64))
    k = min(int(settings["keep"] or 0), signals.n)
    choices = greedy(kernel, 2 * np.log(relevance), k, 2.0**-14)
    return Outcome(np.array(sorted(choice.token for choice in choices)), choices=choices)
