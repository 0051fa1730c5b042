"""HiPrune, literally."""

import numpy as np

from vtp_export.reference._objectives import mass
from vtp_export.reference.base import Outcome, Settings, Signals, descending, taken

MAXIMISES = (mass("received"),)


def select(signals: Signals, settings: Settings) -> Outcome:
    """Anchors, neighbours, and the most attended of the rest."""
    assert signals.early_received is not None and signals.received is not None
    n = signals.n
    _, columns = signals.candidates.grid
    keep = min(int(settings["keep"] or 0), n)
    anchors = min(round(keep * float(settings["alpha"] or 0) / 5), keep // 5)
    first = descending(signals.early_received)[:anchors]
    kept = set(first)
    for i in first:
        kept |= {min(max(j, 0), n - 1) for j in (i, i - 1, i + 1, i - columns, i + columns)}
    choices = taken("early attention", first, signals.early_received)
    choices += taken("beside one of these", sorted(kept - set(first)))
    rest = [i for i in descending(signals.received) if i not in kept][: keep - len(kept)]
    choices += taken("attention", rest, signals.received)
    return Outcome(np.array(sorted(kept | set(rest))), choices=choices)
