"""DivPrune: the most isolated token, then each time the one farthest from its nearest chosen token."""

import numpy as np

from vtp_export.reference._objectives import spread
from vtp_export.reference._similarity import cosines
from vtp_export.reference.base import Choice, Outcome, Settings, Signals

MAXIMISES = (spread(),)
WALK = True


def select(signals: Signals, settings: Settings) -> Outcome:
    """Greedy max-min distance."""
    assert signals.projected is not None
    n = signals.n
    distance = 1 - cosines(signals.projected.astype(np.float64))
    others = distance + np.diag(np.full(n, np.inf))
    isolation = others.min(1) if n > 1 else np.zeros(1)
    chosen = [int(isolation.argmax())]
    choices = [Choice(token=chosen[0], why="farthest from its nearest neighbour", score=float(isolation.max()))]
    while len(chosen) < min(int(settings["keep"] or 0), n):
        nearest = distance[:, chosen].min(1)
        nearest[chosen] = -1.0
        chosen.append(int(nearest.argmax()))
        choices.append(Choice(token=chosen[-1], why="farthest from all kept", score=float(nearest.max())))
    return Outcome(np.array(sorted(chosen)), choices=tuple(choices))
