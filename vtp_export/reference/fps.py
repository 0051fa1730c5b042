"""Farthest-point sampling from a given token on."""

import numpy as np

from vtp_export.reference._objectives import spread
from vtp_export.reference._similarity import cosines, first_largest
from vtp_export.reference.base import Choice, Outcome, Settings, Signals, taken

MAXIMISES = (spread(),)
WALK = True


def select(signals: Signals, settings: Settings) -> Outcome:
    """Greedy max-min distance, by the settings' start and metric."""
    assert signals.projected is not None
    features = signals.projected.astype(np.float64)
    chosen = [0]
    if settings["start"] == "saliency":
        assert signals.saliency is not None
        chosen = [first_largest(signals.saliency.tolist())]
    choices = list(taken("start", chosen, signals.saliency if settings["start"] == "saliency" else None))
    similarity = cosines(features) if settings["metric"] == "cosine" else None
    nearest = np.full(signals.n, np.inf)
    while len(chosen) < min(int(settings["keep"] or 0), signals.n):
        last = chosen[-1]
        far = np.linalg.norm(features - features[last], axis=1) if similarity is None else 1 - similarity[last]
        nearest = np.minimum(nearest, far)
        left = [i for i in range(signals.n) if i not in chosen]
        chosen.append(left[first_largest(nearest[left].tolist())])
        choices.append(Choice(token=chosen[-1], why="farthest from all kept", score=float(nearest[chosen[-1]])))
    return Outcome(np.array(sorted(chosen)), choices=tuple(choices))
