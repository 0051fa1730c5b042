"""VScan's first stage, literally."""

import numpy as np

from vtp_export.reference._objectives import mass
from vtp_export.reference._similarity import cosines, first_largest
from vtp_export.reference.base import Outcome, Settings, Signals, descending, taken

MAXIMISES = (mass(),)


def select(signals: Signals, settings: Settings) -> Outcome:
    """Local, global, merge."""
    assert signals.saliency is not None and signals.early_saliency is not None and signals.projected is not None
    n, early = signals.n, signals.early_saliency
    keep = min(int(settings["keep"] or 0), n)
    rows, columns = signals.candidates.grid
    members: dict[tuple[int, int], list[int]] = {}
    for i in range(n):
        members.setdefault((i // columns * 4 // rows, i % columns * 4 // columns), []).append(i)
    chosen: set[int] = set()
    for window in members.values():
        chosen |= set(sorted(window, key=lambda i: (-early[i], i))[: keep // 2 // 16])
    choices = taken("early attention, of its window", sorted(chosen), early)
    rest = [i for i in descending(signals.saliency) if i not in chosen][: keep - len(chosen)]
    choices += taken("attention", rest, signals.saliency)
    chosen |= set(rest)
    kept = sorted(chosen)
    cosine = cosines(signals.projected)
    mix = np.eye(n)[kept]
    for i in sorted(set(range(n)) - chosen):
        mix[first_largest([float(cosine[i, j]) for j in kept]), i] += 1
    return Outcome(np.array(kept), mix=mix / mix.sum(1, keepdims=True), choices=choices)
