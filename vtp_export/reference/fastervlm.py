"""Top-k by CLS attention, kept in spatial order."""

import numpy as np

from vtp_export.reference._objectives import mass
from vtp_export.reference.base import Outcome, Settings, Signals, descending, taken

MAXIMISES = (mass(),)


def select(signals: Signals, settings: Settings) -> Outcome:
    """Sort, cut, restore the spatial order."""
    assert signals.saliency is not None
    best = descending(signals.saliency)[: int(settings["keep"] or 0)]
    return Outcome(np.array(sorted(best)), choices=taken("attention", best, signals.saliency))
