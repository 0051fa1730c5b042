"""SCOPE: the token that adds most coverage, weighted by CLS attention, again and again."""

import numpy as np

from vtp_export.reference._objectives import coverage, mass
from vtp_export.reference._similarity import cosines, first_largest
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
        gains = []
        for j in range(signals.n):
            gain = weight[j] * np.maximum(0, similarity[j] - covered).sum()
            gains.append(-1.0 if j in chosen else float(gain))
        chosen.append(first_largest(gains))
        choices.append(Choice(token=chosen[-1], why="adds most coverage", score=max(gains)))
        covered = np.maximum(covered, similarity[chosen[-1]])
    return Outcome(np.array(sorted(chosen)), choices=tuple(choices))
