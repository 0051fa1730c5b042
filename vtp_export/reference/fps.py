"""Farthest-point sampling from a given token on."""

import numpy as np

from vtp_export.reference._similarity import cosines, first_largest
from vtp_export.reference.base import Outcome, Settings, Signals


def select(signals: Signals, settings: Settings) -> Outcome:
    """Greedy max-min distance, by the settings' start and metric."""
    assert signals.projected is not None
    features = signals.projected.astype(np.float64)
    chosen = [0]
    if settings["start"] == "saliency":
        assert signals.saliency is not None
        chosen = [first_largest(signals.saliency.tolist())]
    similarity = cosines(features) if settings["metric"] == "cosine" else None
    nearest = np.full(signals.n, np.inf)
    while len(chosen) < min(int(settings["keep"] or 0), signals.n):
        last = chosen[-1]
        far = np.linalg.norm(features - features[last], axis=1) if similarity is None else 1 - similarity[last]
        nearest = np.minimum(nearest, far)
        left = [i for i in range(signals.n) if i not in chosen]
        chosen.append(left[first_largest(nearest[left].tolist())])
    return Outcome(np.array(sorted(chosen)))
