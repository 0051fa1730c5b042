"""DART on embeddings: pivots by L1 norm, then the tokens least like each pivot."""

import math

import numpy as np

from vtp_export.reference._similarity import cosines
from vtp_export.reference.base import Choice, Outcome, Settings, Signals, descending, taken

BY_CHANNEL = True
"""It takes the sum of its entries' sizes."""


def select(signals: Signals, settings: Settings) -> Outcome:
    """Grow the kept set pivot by pivot."""
    assert signals.projected is not None
    features = signals.projected.astype(np.float64)
    target = min(int(settings["keep"] or 0), signals.n)
    lengths = np.abs(features).sum(axis=1)
    pivots = descending(lengths)[: min(int(settings["pivots"] or 0), target)]
    similarity = cosines(features)
    kept, choices = list(pivots), list(taken("pivot, by length", pivots, lengths))
    for turn, pivot in enumerate(pivots):
        share = math.ceil((target - len(kept)) / (len(pivots) - turn))
        candidates = [i for i in range(signals.n) if i not in kept]
        candidates.sort(key=lambda i: (similarity[pivot, i], i))
        kept += candidates[:share]
        choices += [
            Choice(token=i, why=f"least like pivot {pivot}", score=float(similarity[pivot, i]))
            for i in candidates[:share]
        ]
    return Outcome(np.array(sorted(kept)), choices=tuple(choices))
