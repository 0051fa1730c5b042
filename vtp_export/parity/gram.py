"""Features by their inner products: all that most methods see of them, and smaller where channels are many."""

import numpy as np


def packed(features: np.ndarray) -> np.ndarray:
    """(n, d) features to the lower half of their Gram matrix, row by row: (n (n + 1) / 2,) float32."""
    rows, columns = np.tril_indices(len(features))
    half: np.ndarray = (features @ features.T)[rows, columns].astype(np.float32)
    return half


def unpacked(half: np.ndarray) -> np.ndarray:
    """(n, n) float64 features that have such a Gram matrix, but for its rounding.

    Example:
        >>> features = unpacked(packed(np.array([[3.0, 4.0, 0.0], [0.0, 0.0, 2.0]])))
        >>> np.round(features @ features.T, 6).tolist()
        [[25.0, 0.0], [0.0, 4.0]]
    """
    n = int(np.sqrt(2 * len(half)))
    gram = np.zeros((n, n))
    gram[np.tril_indices(n)] = half
    lengths = np.diag(gram).copy()
    sizes, axes = np.linalg.eigh(gram)  # reads the lower half
    features: np.ndarray = axes * np.sqrt(np.maximum(sizes, 0))
    features[lengths == 0] = 0
    return features
