"""FasterVLM, and DivPrune's recursion from there on, literally."""

import numpy as np

from vtp_export.reference._mixing import attention_count
from vtp_export.reference._objectives import mass, spread
from vtp_export.reference._similarity import cosines
from vtp_export.reference.base import Choice, Outcome, Settings, Signals, descending, taken

MAXIMISES = (mass(), spread())
WALK = True


def select(signals: Signals, settings: Settings) -> Outcome:
    """The most attended, then the farthest from all kept."""
    assert signals.saliency is not None and signals.projected is not None
    n = signals.n
    keep = min(int(settings["keep"] or 0), n)
    count, complexity = attention_count(signals, settings, keep)
    kept = descending(signals.saliency)[:count]
    choices = list(taken("attention", kept, signals.saliency))
    distance = 1 - cosines(signals.projected)
    while len(kept) < keep:
        others = distance + np.diag(np.full(n, np.inf)) if n > 1 else distance
        scores = distance[:, kept].min(1) if kept else others.min(1)
        scores[kept] = -1.0
        kept.append(int(scores.argmax()))
        choices.append(Choice(token=kept[-1], why="farthest from all kept", score=float(scores.max())))
    return Outcome(np.array(sorted(kept)), complexity, choices=tuple(choices))
