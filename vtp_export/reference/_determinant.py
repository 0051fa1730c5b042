"""Greedy maximisation of a determinant, by solving for every residual afresh."""

import math

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
        best, best_gain = -1, -math.inf
        for i in range(n):
            if i in chosen:
                continue
            gain = _gain(residual[i], log_weight[i]) if residual[i] > floor else -1e15
            if gain > best_gain:
                best, best_gain = i, gain
        if residual[best] > floor:
            basis.append(best)
        chosen.append(best)
        why, score = ("raises the determinant most", best_gain / STEPS) if best in basis else ("adds nothing", None)
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


def _gain(residual: float, log_weight: float) -> float:
    """In steps of 2^-20: what single precision could not tell apart is a tie."""
    return float(round((math.log(residual) + log_weight) * STEPS))
