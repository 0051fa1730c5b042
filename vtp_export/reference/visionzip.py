"""VisionZip, literally."""

import numpy as np

from vtp_export.reference._objectives import mass
from vtp_export.reference._similarity import first_largest, snapped
from vtp_export.reference.base import Outcome, Settings, Signals, descending, taken

MAXIMISES = (mass(),)


def select(signals: Signals, settings: Settings) -> Outcome:
    """CLS, dominant tokens, contextual tokens."""
    assert signals.saliency is not None and signals.keys is not None
    n = signals.n
    keep = min(int(settings["keep"] or 0), n)
    contextual = settings["contextual"]
    contextual = int(keep * 10 / 64 + 0.5) if contextual is None else min(int(contextual), keep - 1)
    dominant = sorted(descending(signals.saliency)[: keep - contextual - 1])
    remaining = [i for i in range(n) if i not in set(dominant)]
    step = max(1, len(remaining) // contextual) if contextual else 1
    targets = remaining[::step][:contextual]
    joined: list[list[int]] = [[] for _ in targets]
    for i in remaining:
        if targets and i not in set(targets):
            joined[first_largest([_cosine(signals.keys[i], signals.keys[j]) for j in targets])].append(i)
    kept = [-1, *dominant, *targets]
    mix = np.zeros((keep, n + 1))
    for row, i in enumerate(kept):
        mix[row, i + 1] = 1  # CLS, which is -1 in `kept`, is candidate 0
    for target, members in enumerate(joined):
        for i in members:
            mix[1 + len(dominant) + target, 1 + i] = 1 / len(members)
    choices = taken("CLS", [-1]) + taken("attention", dominant, signals.saliency)
    choices += taken("in an even sample of the rest", targets)
    return Outcome(np.array(kept), mix=mix, choices=choices)


def _cosine(one: np.ndarray, other: np.ndarray) -> float:
    lengths = float(np.linalg.norm(one)), float(np.linalg.norm(other))
    return float(snapped(np.array(one @ other / (lengths[0] * lengths[1])))) if min(lengths) > 0 else 0.0
