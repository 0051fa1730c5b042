"""The adaptive walk of the paper (section 4.3), literally: sort, walk, strike out, backfill."""

import math

import numpy as np

from vtp_export.reference._objectives import coverage, mass
from vtp_export.reference._similarity import cosine_distances
from vtp_export.reference.base import Choice, Outcome, Settings, Signals, descending, taken
from vtp_export.reference.erank import complexity_of

MAXIMISES = (mass(), coverage())
WALK = True


def select(signals: Signals, settings: Settings) -> Outcome:
    """Select for one image; `settings` are the fields of the pruner's `Config`, `average` resolved."""
    assert signals.saliency is not None and signals.projected is not None
    saliency, features = signals.saliency.astype(np.float64), signals.projected.astype(np.float64)
    complexity = _complexity(signals, settings)
    budget = _budget(complexity, settings, signals.n)
    distance = cosine_distances(features)
    order = descending(saliency)
    alive = [True] * signals.n
    kept: list[int] = []
    choices: list[Choice] = []
    for rank, i in enumerate(order, start=1):
        if len(kept) == budget:
            break
        if not alive[i]:
            continue
        kept.append(i)
        alive[i] = False
        threshold = _threshold(rank, complexity, settings)
        struck = [j for j in range(signals.n) if alive[j] and distance[i, j] < threshold]
        for j in struck:
            alive[j] = False
        choices.append(
            Choice(
                token=i,
                why="walk down the attention",
                score=float(saliency[i]),
                rank=rank,
                threshold=threshold,
                struck=tuple(struck),
            )
        )
    chosen = set(kept)
    back = [i for i in order if i not in chosen][: budget - len(kept)]
    kept += back
    choices += taken("backfill, though it was struck out", back, saliency)
    return Outcome(np.array(sorted(kept)), complexity, choices=tuple(choices))


def _complexity(signals: Signals, settings: Settings) -> float | None:
    if settings["tau"] is not None and settings["count"] == "fixed":
        return None
    return complexity_of(signals, settings)


def _threshold(rank: int, complexity: float | None, settings: Settings) -> float:
    if settings["tau"] is not None:
        return _number(settings, "tau")
    assert complexity is not None
    slope = complexity / _number(settings, "average") * _number(settings, "step")
    return min(rank * slope, _number(settings, "tau_max"))


def _budget(complexity: float | None, settings: Settings, n: int) -> int:
    keep = min(int(_number(settings, "keep")), n)
    if settings["count"] == "fixed":
        return keep
    assert complexity is not None
    ceiling = _number(settings, "ceiling")
    share = min(max(complexity / _number(settings, "average"), 0.8), ceiling)
    return max(1, min(math.floor(keep * share + 0.5), math.floor(keep * ceiling), n))


def _number(settings: Settings, name: str) -> float:
    value = settings[name]
    assert isinstance(value, int | float)
    return float(value)
