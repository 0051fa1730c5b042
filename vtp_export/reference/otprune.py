"""OTPrune: greedy log-determinant of the identity plus a covariance, in spatial order."""

import numpy as np

from vtp_export.reference._determinant import greedy
from vtp_export.reference._similarity import snapped
from vtp_export.reference.base import Objective, Outcome, Settings, Signals

BY_CHANNEL = True
"""It takes the length of each channel over all tokens."""


def _kernel(signals: Signals, settings: Settings) -> np.ndarray:
    """Channels scaled over the tokens; the identity plus their covariance."""
    assert signals.projected is not None
    features, gamma = signals.projected.astype(np.float64), settings["gamma"]
    assert isinstance(gamma, float | int)
    length = np.linalg.norm(features, axis=0)
    channels = features / np.where(length > 0, length, 1)
    similarity = channels @ channels.T
    kernel: np.ndarray = np.eye(signals.n) + gamma * (similarity @ similarity.T)
    return kernel


def _information(signals: Signals, settings: Settings, kept: np.ndarray) -> float:
    values = np.linalg.eigvalsh(_kernel(signals, settings)[np.ix_(kept, kept)])
    return float(np.log(np.maximum(values, 1 + 1e-12)).mean())


MAXIMISES = (Objective("volume", "log-determinant of the kept tokens' kernel, by token", _information),)
WALK = True


def select(signals: Signals, settings: Settings) -> Outcome:
    """Build the kernel, choose."""
    kernel = _kernel(signals, settings)
    # The determinant of a chosen submatrix is that of its correlations times the product of its diagonal.
    diagonal = np.diag(kernel)
    correlation = snapped(kernel / np.sqrt(np.outer(diagonal, diagonal)))
    k = min(int(settings["keep"] or 0), signals.n)
    choices = greedy(correlation, np.log(diagonal), k, 0.0)
    return Outcome(np.array(sorted(choice.token for choice in choices)), choices=choices)
