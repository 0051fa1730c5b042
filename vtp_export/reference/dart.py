"""DART on embeddings: pivots by L1 norm, then the tokens least like each pivot."""

import math

import numpy as np

from vtp_export.reference._similarity import cosines
from vtp_export.reference.base import Choice, Objective, Outcome, Settings, Signals, descending, taken

BY_CHANNEL = True
"""It takes the sum of its entries' sizes."""


def _pivots(signals: Signals, settings: Settings) -> tuple[list[int], np.ndarray]:
    """The longest tokens, by the sum of their entries' sizes, and the lengths of all."""
    assert signals.projected is not None
    lengths = np.abs(signals.projected.astype(np.float64)).sum(axis=1)
    count = min(int(settings["pivots"] or 0), int(settings["keep"] or 0), signals.n)
    return descending(lengths)[:count], lengths


def _unlikeness(signals: Signals, settings: Settings, kept: np.ndarray) -> float:
    assert signals.projected is not None
    pivots, _ = _pivots(signals, settings)
    nearest = cosines(signals.projected.astype(np.float64))[kept][:, pivots].min(axis=1)
    return float((1 - nearest).mean())


MAXIMISES = (Objective("unlikeness", "distance of a kept token to the pivot least like it, mean", _unlikeness),)
WALK = True


def select(signals: Signals, settings: Settings) -> Outcome:
    """Grow the kept set pivot by pivot."""
    assert signals.projected is not None
    target = min(int(settings["keep"] or 0), signals.n)
    pivots, lengths = _pivots(signals, settings)
    similarity = cosines(signals.projected.astype(np.float64))
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
