"""Noise of a sensor. Pictures are (h, w, 3) float64 in [0, 1]."""

from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


def gaussian_noise(x: Array, severity: int, generator: np.random.Generator) -> Array:
    """In low light."""
    return x + generator.normal(0, (0.08, 0.12, 0.18, 0.26, 0.38)[severity - 1], x.shape)


def shot_noise(x: Array, severity: int, generator: np.random.Generator) -> Array:
    """Light comes in grains."""
    grains = (60, 25, 12, 5, 3)[severity - 1]
    return generator.poisson(x * grains) / grains


def impulse_noise(x: Array, severity: int, generator: np.random.Generator) -> Array:
    """Salt and pepper: values that are all or nothing, as many of either."""
    hit = generator.random(x.shape) < (0.03, 0.06, 0.09, 0.17, 0.27)[severity - 1]
    return np.where(hit, generator.random(x.shape) < 0.5, x)
