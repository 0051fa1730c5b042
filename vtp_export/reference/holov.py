"""HoloV: score the runs of the raster, share the budget, take the most attended of each."""

import math

import numpy as np

from vtp_export.reference._objectives import mass
from vtp_export.reference._similarity import snapped
from vtp_export.reference.base import Outcome, Settings, Signals, descending, taken

MAXIMISES = (mass(),)


def select(signals: Signals, settings: Settings) -> Outcome:
    """Run by run."""
    assert signals.projected is not None and signals.saliency is not None
    features, attention = signals.projected.astype(np.float64), signals.saliency.astype(np.float64)
    beta = settings["beta"]
    assert isinstance(beta, float | int)
    runs = np.array_split(np.arange(signals.n), min(int(settings["chunks"] or 0), signals.n))
    scores = np.array([_score(features[run], attention[run], beta) for run in runs])
    quotas = _quotas(scores, [len(run) for run in runs], min(int(settings["keep"] or 0), signals.n))
    kept: list[int] = []
    for run, quota in zip(runs, quotas, strict=True):
        kept += [int(run[i]) for i in descending(attention[run])[:quota]]
    return Outcome(np.array(sorted(kept)), choices=taken("attention, of its run", kept, attention))


def _score(features: np.ndarray, attention: np.ndarray, beta: float) -> float:
    m = len(features)
    unit = features / (np.linalg.norm(features, axis=1, keepdims=True) + 1e-6)
    similarity = unit @ unit.T
    np.fill_diagonal(similarity, 0)
    others = max(m - 1, 1)
    variances = []
    for row in similarity:
        mean = row.sum() / others
        variances.append(((row - mean) ** 2).sum() / others)
    variance, scaled = np.array(variances), 1000 * attention
    ratio = scaled.mean() / (variance.mean() + 1e-6)
    return float((scaled + beta * variance * ratio).mean())


def _quotas(scores: np.ndarray, sizes: list[int], k: int) -> list[int]:
    count = len(scores)
    total = scores.sum()
    shares = scores / total if total > 0 else np.full(count, 1 / count)
    best_first = descending(np.round(shares * 2**16))
    quotas = [math.floor(share * k + 2.0**-12) for share in snapped(shares)]
    for chunk in best_first[: k - sum(quotas)]:
        quotas[chunk] += 1
    quotas = [min(quota, size) for quota, size in zip(quotas, sizes, strict=True)]
    for chunk in best_first:
        quotas[chunk] += min(sizes[chunk] - quotas[chunk], k - sum(quotas))
    return quotas
