"""Summaries of the numbers of a data set, all of which are at hand: see `columns`."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vtp_export.calibrations import Distribution

Numbers = Sequence[float] | np.ndarray[Any, np.dtype[Any]]

QUANTILES = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
BINS = 24


def distribution(values: Numbers) -> Distribution:
    """Describe at least one number.

    Example:
        >>> distribution([1.0, 2.0, 3.0]).quantiles["0.5"]
        2.0
    """
    array = np.asarray(values, dtype=np.float64)
    counts, edges = np.histogram(array, bins=BINS)
    return Distribution(
        count=len(array),
        mean=float(array.mean()),
        std=float(array.std(ddof=1)) if len(array) > 1 else 0.0,
        min=float(array.min()),
        max=float(array.max()),
        quantiles={f"{share:g}": float(np.quantile(array, share)) for share in QUANTILES},
        edges=tuple(float(edge) for edge in edges),
        histogram=tuple(int(count) for count in counts),
    )


def correlation(first: Numbers, second: Numbers) -> float | None:
    """Pearson's correlation; None where there are fewer than two numbers or one side does not vary.

    Example:
        >>> correlation([1, 2, 3], [2, 4, 6])
        1.0
    """
    if len(first) < 2 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return None
    return round(float(np.corrcoef(first, second)[0, 1]), 12)


def covariance(columns: Mapping[str, Numbers]) -> dict[str, dict[str, float]]:
    """Of each pair of columns, without bias; zeros where there is but one row.

    Example:
        >>> covariance({"a": [1.0, 3.0], "b": [2.0, 0.0]})
        {'a': {'a': 2.0, 'b': -2.0}, 'b': {'a': -2.0, 'b': 2.0}}
    """
    centred = {name: np.asarray(column, dtype=np.float64) - np.mean(column) for name, column in columns.items()}
    # No matrix product: how that rounds depends on the threads of the machine.
    return {
        name: {other: float((one * two).sum() / max(len(one) - 1, 1)) for other, two in centred.items()}
        for name, one in centred.items()
    }
