"""PruneSID, literally, with the orthogonal iteration that stands for its randomised decomposition."""

import math

import numpy as np

from vtp_export.reference._objectives import coverage, mass
from vtp_export.reference._similarity import cosines, first_largest, snapped
from vtp_export.reference.base import Outcome, Settings, Signals, descending, taken

ITERATIONS = 8

BY_CHANNEL = True
"""It takes the tanh of each entry."""


MAXIMISES = (mass(), coverage("hidden"))
WALK = True


def select(signals: Signals, settings: Settings) -> Outcome:
    """CLS, then the first of each group."""
    assert signals.saliency is not None
    n = signals.n
    keep = min(int(settings["keep"] or 0), n)
    count = max(1, keep // 4)
    loading = snapped(np.abs(_components((1 + np.tanh(signals.hidden / 2)) / 2, count)))
    cosine = cosines(signals.hidden)
    mean = sum(float(cosine[i, j]) for i in range(n) for j in range(i + 1, n)) / max(n * (n - 1) / 2, 1)
    groups: list[list[int]] = [[] for _ in range(count)]
    for i in descending(signals.saliency):
        groups[first_largest(list(loading[i]))].append(i)
    kept_first, unsuppressed = [], []
    for group in groups:
        kept: list[int] = []
        for i in group:
            if not any(cosine[j, i] > keep / 32 * mean for j in kept):
                kept.append(i)
        kept_first.append(kept + [i for i in group if i not in kept])
        unsuppressed.append(len(kept))
    quotas = _quotas([len(group) for group in groups], unsuppressed, keep)
    chosen = [i for group, quota in zip(kept_first, quotas, strict=True) for i in group[:quota]]
    kept_positions = np.array([-1, *chosen])
    choices = taken("CLS", [-1]) + taken("of its group, duplicates last", chosen, signals.saliency)
    return Outcome(kept_positions, mix=np.eye(n + 1)[kept_positions + 1], choices=choices)


def _components(features: np.ndarray, count: int) -> np.ndarray:
    centred = features - features.mean(1, keepdims=True)
    basis = np.random.default_rng(0).standard_normal((len(features), count))
    for _ in range(ITERATIONS):
        product = centred @ (centred.T @ basis)
        columns: list[np.ndarray] = []
        for vector in product.T:
            length = np.linalg.norm(vector)
            left = vector.copy()
            for _ in range(2):
                for earlier in columns:
                    left = left - earlier * (earlier @ left)
            size = np.linalg.norm(left)
            columns.append(left / size if size > 1e-4 * length else np.zeros_like(left))
        basis = np.stack(columns, 1)
    return basis


def _quotas(sizes: list[int], unsuppressed: list[int], keep: int) -> list[int]:
    most = [min(kept, 5 * math.ceil(keep / 64)) for kept in unsuppressed]
    while sum(most) < keep:
        most = [min(cap + 1, size) for cap, size in zip(most, sizes, strict=True)]
    least = [min(1, size) for size in sizes]
    other, total = max(0, keep - sum(least) - 1), sum(unsuppressed)
    quotas, running, given = [], 0, 0
    for low, cap, kept in zip(least, most, unsuppressed, strict=True):
        running += kept
        upto = (2 * other * running + total) // (2 * total)
        quotas.append(min(low + upto - given, cap))
        given = upto
    for group in sorted(range(len(sizes)), key=lambda g: (-unsuppressed[g], g)):
        quotas[group] += min(keep - 1 - sum(quotas), most[group] - quotas[group])
    return quotas
