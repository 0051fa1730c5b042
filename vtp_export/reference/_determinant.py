"""Greedy maximisation of a determinant, by solving for every residual afresh."""

import numpy as np

from vtp_export.reference.base import Choice

STEPS = 2.0**20
"""Of a gain, a logarithm: what single precision could not tell apart is a tie."""


def greedy(kernel: np.ndarray, log_weight: np.ndarray, k: int, floor: float) -> tuple[Choice, ...]:
    """Choose k of n candidates, each time the one that multiplies the determinant most.

    Args:
        kernel: (n, n) positive semidefinite with diagonal 1 (or 0).
        log_weight: (n,) log of the squared weights.
        k: how many.
        floor: a residual up to this is none: such candidates come last, by position.
    """
    n = len(kernel)
    chosen: list[int] = []
    choices: list[Choice] = []
    basis: list[int] = []  # the chosen ones that had a residual: what explains the others
    while len(chosen) < k:
        residual = _residuals(kernel, basis)
        gains = np.full(n, -1e15)
        left = residual > floor
        gains[left] = np.round((np.log(residual[left]) + log_weight[left]) * STEPS)
        gains[chosen] = -np.inf
        best = int(gains.argmax())
        if residual[best] > floor:
            basis.append(best)
        chosen.append(best)
        why, score = (
            ("raises the determinant most", float(gains[best]) / STEPS) if best in basis else ("adds nothing", None)
        )
        choices.append(Choice(token=best, why=why, score=score))
    return tuple(choices)


def _residuals(kernel: np.ndarray, basis: list[int]) -> np.ndarray:
    """What each candidate's diagonal entry leaves after the best prediction from the basis, (n,)."""
    if not basis:
        return np.diag(kernel).copy()
    cross = kernel[basis]  # (t, n)
    explained = np.einsum("tn,tn->n", cross, np.linalg.solve(kernel[np.ix_(basis, basis)], cross))
    left: np.ndarray = np.diag(kernel) - explained
    return left
