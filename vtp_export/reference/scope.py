"""SCOPE: the token that adds most coverage, weighted by CLS attention, again and again."""

import numpy as np

from vtp_export.reference._objectives import coverage, mass
from vtp_export.reference._similarity import cosines
from vtp_export.reference.base import Choice, Outcome, Settings, Signals

MAXIMISES = (mass(), coverage("hidden"))
WALK = True


def select(signals: Signals, settings: Settings) -> Outcome:
    """Greedy weighted coverage."""
    assert signals.saliency is not None
    alpha = settings["alpha"]
    assert isinstance(alpha, float | int)
    similarity = cosines(signals.hidden.astype(np.float64))
    weight = signals.saliency.astype(np.float64) ** alpha
    covered = np.zeros(signals.n)
    chosen: list[int] = []
    choices: list[Choice] = []
    while len(chosen) < min(int(settings["keep"] or 0), signals.n):
        gains = weight * np.maximum(0, similarity - covered).sum(1)
        gains[chosen] = -1.0
        chosen.append(int(gains.argmax()))
        choices.append(Choice(token=chosen[-1], why="adds most coverage", score=float(gains.max())))
        covered = np.maximum(covered, similarity[chosen[-1]])
    return Outcome(np.array(sorted(chosen)), choices=tuple(choices))
