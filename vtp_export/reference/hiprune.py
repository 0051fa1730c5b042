"""HiPrune, literally."""

import numpy as np

from vtp_export.reference.base import Outcome, Settings, Signals, descending


def select(signals: Signals, settings: Settings) -> Outcome:
    """Anchors, neighbours, and the most attended of the rest."""
    assert signals.early_received is not None and signals.received is not None
    n = signals.n
    _, columns = signals.candidates.grid
    keep = min(int(settings["keep"] or 0), n)
    anchors = min(round(keep * float(settings["alpha"] or 0) / 5), keep // 5)
    kept: set[int] = set()
    for i in descending(signals.early_received)[:anchors]:
        kept |= {min(max(j, 0), n - 1) for j in (i, i - 1, i + 1, i - columns, i + columns)}
    for i in descending(signals.received):
        if len(kept) == keep:
            break
        kept.add(i)
    return Outcome(np.array(sorted(kept)))
