"""Cosines, for all references."""

import numpy as np


def snapped(values: np.ndarray) -> np.ndarray:
    """Rounded to multiples of 2^-32: equal tokens have equal numbers, and the lowest position wins between them."""
    rounded: np.ndarray = np.round(values * 2.0**32) / 2.0**32
    return rounded


def cosines(features: np.ndarray) -> np.ndarray:
    """(n, n) cosines of (n, d) tokens, snapped; 0 for a zero token, with itself too."""
    norms = np.linalg.norm(features, axis=1)
    unit = features / np.where(norms > 0, norms, 1)[:, None]
    return snapped(unit @ unit.T)


def cosine_distances(features: np.ndarray) -> np.ndarray:
    """(n, n) distances of (n, d) tokens as AgilePruner's release has them: 1 from a zero token, and not snapped."""
    unit = features / (np.linalg.norm(features, axis=1, keepdims=True) + 1e-8)
    distances: np.ndarray = np.maximum(1 - unit @ unit.T, 0)
    return distances


def first_largest(scores: list[float]) -> int:
    """Position of the largest, the first of several."""
    return scores.index(max(scores))
