"""Whether a difference between two answers to the same questions could be chance.

Questions about one picture stand and fall together, so pictures are what is counted, exchanged and drawn again.

Source: McNemar (1947) for single answers; Fisher's randomisation test for pairs, in which under the null hypothesis
either of the two could have given either; Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), chapter 13,
for the percentile interval; Cochran, "Sampling Techniques", 3rd ed. (1977), sections 6.3 and 9A.2, for the interval of
a ratio of cluster totals.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

EXACT = 16
"""Up to so many pictures that differ, all 2^n exchanges are counted."""

DRAWS = 10_000
"""Exchanges that are drawn where there are more."""

RESAMPLES = 500
"""Of exchanges and of the bootstrap, where every one of them asks for a new score of all answers."""

SEED = 0
NORMAL_95 = 1.96


def mcnemar(first: Sequence[bool], second: Sequence[bool]) -> float:
    """Two-sided exact p-value for paired right and wrong answers.

    Example:
        >>> mcnemar([True] * 6, [False] * 6)
        0.03125
    """
    only_first = sum(a and not b for a, b in zip(first, second, strict=True))
    only_second = sum(b and not a for a, b in zip(first, second, strict=True))
    n = only_first + only_second
    tail = sum(math.comb(n, i) for i in range(min(only_first, only_second) + 1))
    return min(1.0, tail / 2 ** (n - 1)) if n else 1.0


def sign_flips(changes: Sequence[float]) -> float:
    """Two-sided p-value of a sum of differences, each of which could as well have the other sign.

    Exact up to `EXACT` differences that are not 0; else of `DRAWS` seeded draws, the observed one counted among them.

    Args:
        changes: of each picture, the sum of the differences of credit of its questions.

    Example:
        >>> sign_flips([1.0] * 6)
        0.03125
    """
    moved = np.array([change for change in changes if change != 0], dtype=np.float64)
    if not len(moved):
        return 1.0
    observed = abs(moved.sum()) - _slack(np.abs(moved).sum())
    if len(moved) <= EXACT:
        signs = 1 - 2.0 * ((np.arange(2 ** len(moved))[:, None] >> np.arange(len(moved))) & 1)
        return float((np.abs(signs @ moved) >= observed).mean())
    draw = np.random.default_rng(SEED)
    as_far = sum(int((np.abs(_signs(draw, len(moved)) @ moved) >= observed).sum()) for _ in range(DRAWS // 100))
    return (1 + as_far) / (1 + DRAWS)


def _signs(draw: np.random.Generator, count: int) -> Floats:
    """A hundred rows of signs."""
    return np.asarray(1 - 2.0 * draw.integers(0, 2, (100, count)), np.float64)


def exchanges(difference: Callable[[npt.NDArray[np.bool_]], float], differing: npt.NDArray[np.bool_]) -> float:
    """The same of any metric: two-sided p-value of its difference, by exchanging the answers of pictures.

    Args:
        difference: of the metrics, where the answers of some pictures (n,) are exchanged.
        differing: (n,) the pictures about which the two do not say the same.

    Raises:
        ValueError: no pictures.
    """
    places = np.flatnonzero(differing)
    if not len(places):
        return 1.0
    none = np.zeros(len(differing), dtype=bool)
    observed = abs(difference(none))
    observed -= _slack(observed)
    if 2 ** len(places) <= RESAMPLES:
        chosen = (np.arange(2 ** len(places))[:, None] >> np.arange(len(places))) & 1 == 1
        return float(np.mean([abs(difference(_with(none, places, row))) >= observed for row in chosen]))
    draw = np.random.default_rng(SEED)
    rows = (draw.integers(0, 2, len(places)) == 1 for _ in range(RESAMPLES))
    as_far = sum(abs(difference(_with(none, places, row))) >= observed for row in rows)
    return (1 + as_far) / (1 + RESAMPLES)


def _with(
    none: npt.NDArray[np.bool_], places: npt.NDArray[np.intp], row: npt.NDArray[np.bool_]
) -> npt.NDArray[np.bool_]:
    exchanged = none.copy()
    exchanged[places] = row
    return exchanged


def _slack(value: float) -> float:
    """What sums of the same numbers in another order differ by at most."""
    return 1e-9 * max(float(value), 1.0)


def bootstrap(difference: Callable[[npt.NDArray[np.intp]], float], pictures: int) -> tuple[float, float] | None:
    """The 95 % percentile interval of a difference, over pictures drawn again; None of one picture alone.

    Args:
        difference: of the metrics, of pictures by their numbers, which may be there more than once.
        pictures: how many there are.
    """
    if pictures < 2:
        return None
    draw = np.random.default_rng(SEED)
    drawn = [difference(draw.integers(0, pictures, pictures)) for _ in range(RESAMPLES)]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return float(low), float(high)


def of_means(changes: Sequence[float], counts: Sequence[int]) -> tuple[float, float] | None:
    """The 95 % interval of the difference of two mean credits; None of one picture alone.

    Args:
        changes: of each picture, the sum of the differences of credit of its questions.
        counts: how many questions these are.
    """
    change, count = np.array(changes, dtype=np.float64), np.array(counts, dtype=np.float64)
    n = len(change)
    if n < 2:
        return None
    middle = change.sum() / count.sum()
    residual = change - middle * count
    margin = NORMAL_95 * math.sqrt(n / (n - 1) * float(residual @ residual)) / float(count.sum())
    return float(middle - margin), float(middle + margin)
