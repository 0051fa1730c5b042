"""Summaries of numbers that came one by one.

The numbers themselves are kept: three a picture are 24 bytes, so that a million pictures take 24 MB, quantiles are
exact, and merging the work of several machines is joining their lists.
"""

from collections.abc import Sequence

import numpy as np

from vtp_export.calibrations import Distribution

QUANTILES = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
BINS = 24


def distribution(values: Sequence[float]) -> Distribution:
    """Describe at least one number.

    Example:
        >>> distribution([1.0, 2.0, 3.0]).quantiles["0.5"]
        2.0
    """
    array = np.asarray(values, dtype=np.float64)
    counts, edges = np.histogram(array, bins=BINS)
    return Distribution(
        mean=float(array.mean()),
        std=float(array.std(ddof=1)) if len(array) > 1 else 0.0,
        min=float(array.min()),
        max=float(array.max()),
        quantiles={f"{share:g}": float(np.quantile(array, share)) for share in QUANTILES},
        edges=tuple(float(edge) for edge in edges),
        histogram=tuple(int(count) for count in counts),
    )


def correlation(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Pearson's correlation; None where there are fewer than two numbers or one side does not vary.

    Example:
        >>> correlation([1, 2, 3], [2, 4, 6])
        1.0
    """
    if len(first) < 2 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return None
    return round(float(np.corrcoef(first, second)[0, 1]), 12)
