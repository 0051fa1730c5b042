"""Blur of lens, glass and movement. Pictures are (h, w, 3) float64 in [0, 1]."""

import math
from typing import Any

import numpy as np
from scipy.ndimage import convolve1d, gaussian_filter, zoom
from scipy.signal import fftconvolve

Array = np.ndarray[Any, np.dtype[Any]]


def defocus_blur(x: Array, severity: int, generator: np.random.Generator) -> Array:
    """A disk with softened edge, in the place of every point."""
    radius, soft = ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5))[severity - 1]
    reach = max(8, radius)
    line = np.arange(-reach, reach + 1)
    disk = (line[:, None] ** 2 + line**2 <= radius**2).astype(np.float64)
    beside = 1 if radius <= 8 else 2
    taps = np.exp(-(np.arange(-beside, beside + 1) ** 2) / (2 * soft**2))
    kernel = disk / disk.sum()
    for axis in (0, 1):
        kernel = convolve1d(kernel, taps / taps.sum(), axis, mode="mirror")
    wide = np.pad(x, ((reach, reach), (reach, reach), (0, 0)), mode="reflect" if min(x.shape[:2]) > reach else "edge")
    blurred: Array = fftconvolve(wide, kernel[:, :, None], mode="valid", axes=(0, 1))
    return blurred


def glass_blur(x: Array, severity: int, generator: np.random.Generator) -> Array:
    """Every pixel takes the colour of a near one, from the last to the first, between two slight blurs.

    It was meant to exchange the two; what is in use, and behind published figures, copies.
    """
    sigma, reach, rounds = ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2))[severity - 1]
    h, w = x.shape[:2]
    soft = np.floor(_softened(x, sigma) * 255) / 255
    rows, columns = np.arange(h - reach, reach, -1), np.arange(w - reach, reach, -1)
    source = list(range(h * w))
    for _ in range(rounds):
        shift = generator.integers(-reach, reach, (2, len(rows), len(columns)))
        near = ((rows[:, None] + shift[0]) * w + columns + shift[1]).ravel().tolist()
        for here, there in zip((rows[:, None] * w + columns).ravel().tolist(), near, strict=True):
            source[here] = source[there]
    return _softened(soft.reshape(h * w, -1)[source].reshape(x.shape), sigma)


def _softened(x: Array, sigma: float) -> Array:
    soft: Array = gaussian_filter(x, (sigma, sigma, 0), mode="nearest")
    return soft


def motion_blur(x: Array, severity: int, generator: np.random.Generator) -> Array:
    """The camera moves."""
    radius, sigma = ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15))[severity - 1]
    return streaked(x, radius, sigma, generator.uniform(-45, 45))


def streaked(x: Array, radius: int, sigma: float, angle: float) -> Array:
    """Each point drawn out one way, fading as half a bell does.

    Args:
        x: (h, w, ...).
        radius: half of the length in pixels, which is odd.
        sigma: how slowly it fades.
        angle: in degrees.
    """
    steps = np.arange(2 * radius + 1)
    weights = np.exp(-(steps**2) / (2 * sigma**2))
    made = np.zeros_like(x)
    for step, weight in zip(steps, weights / weights.sum(), strict=True):
        down, right = (-math.ceil(step * f(math.radians(angle)) - 0.5) for f in (math.sin, math.cos))
        if abs(down) >= x.shape[0] or abs(right) >= x.shape[1]:
            break  # beyond the picture
        rows = np.clip(np.arange(x.shape[0]) - down, 0, x.shape[0] - 1)
        columns = np.clip(np.arange(x.shape[1]) - right, 0, x.shape[1] - 1)
        made += weight * x[rows][:, columns]
    return made


def zoom_blur(x: Array, severity: int, generator: np.random.Generator) -> Array:
    """The camera comes nearer: the mean of the picture and its enlargements."""
    end, step = ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03))[severity - 1]
    factors = np.arange(1, end, step)
    return (x + sum(enlarged(x, factor) for factor in factors)) / (len(factors) + 1)


def enlarged(x: Array, factor: float) -> Array:
    """The middle of a picture (h, w, c), as large as the whole."""
    h, w = x.shape[:2]
    high, wide = math.ceil(h / factor), math.ceil(w / factor)
    top, left = (h - high) // 2, (w - wide) // 2
    grown = zoom(x[top : top + high, left : left + wide], (factor, factor, 1), order=1)[:h, :w]
    missing = [(0, max(h - grown.shape[0], 0)), (0, max(w - grown.shape[1], 0)), (0, 0)]
    return np.pad(grown, missing, mode="edge")
