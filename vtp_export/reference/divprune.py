"""DivPrune: the most isolated token, then each time the one farthest from its nearest chosen token."""

import numpy as np

from vtp_export.reference._objectives import spread
from vtp_export.reference._similarity import cosines, first_largest
from vtp_export.reference.base import Choice, Outcome, Settings, Signals

MAXIMISES = (spread(),)
WALK = True


def select(signals: Signals, settings: Settings) -> Outcome:
    """Greedy max-min distance."""
    assert signals.projected is not None
    n = signals.n
    distance = 1 - cosines(signals.projected.astype(np.float64))
    isolation = [min((distance[i, j] for j in range(n) if j != i), default=0.0) for i in range(n)]
    chosen = [first_largest(isolation)]
    choices = [Choice(token=chosen[0], why="farthest from its nearest neighbour", score=max(isolation))]
    while len(chosen) < min(int(settings["keep"] or 0), n):
        left = [i for i in range(n) if i not in chosen]
        nearest = [float(distance[i, chosen].min()) for i in left]
        chosen.append(left[first_largest(nearest)])
        choices.append(Choice(token=chosen[-1], why="farthest from all kept", score=max(nearest)))
    return Outcome(np.array(sorted(chosen)), choices=tuple(choices))
