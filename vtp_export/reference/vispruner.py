"""VisPruner, literally: a list that shrinks by at most eight a round."""

import numpy as np

from vtp_export.reference._mixing import attention_count
from vtp_export.reference._objectives import coverage, mass
from vtp_export.reference._similarity import cosines
from vtp_export.reference.base import Outcome, Settings, Signals, descending, taken

MAXIMISES = (mass(), coverage("hidden"))
WALK = True


def select(signals: Signals, settings: Settings) -> Outcome:
    """Important tokens by attention, the others by dropping duplicates."""
    assert signals.saliency is not None
    keep = min(int(settings["keep"] or 0), signals.n)
    count, complexity = attention_count(signals, settings, keep)
    order = descending(signals.saliency)
    important, residual, wanted = order[:count], order[count:], keep - count
    cosine = cosines(signals.hidden)
    while len(residual) > wanted > 0:
        first, second = residual[0::2], residual[1::2]
        drop = min(8, len(residual) - wanted, len(first))
        scores = cosine[np.ix_(first, second)].max(1)
        by_score = [first[i] for i in descending(scores)]
        residual = by_score[drop:] + second
    diverse = residual if wanted > 0 else []
    choices = taken("attention", important, signals.saliency) + taken("left when duplicates were dropped", diverse)
    return Outcome(np.array(sorted(important + diverse)), complexity, choices=choices)
