"""Effective rank of token features from their Gram matrix, by matrix products alone.

Sources: Roy & Vetterli 2007; AgilePruner, eq. 3 and 7. No runtime has a portable eigenvalue operator. With l the
eigenvalues of the Gram matrix and s = sqrt(l) the singular values,

    S = sum sqrt(l),   Q = sum sqrt(l) ln l,   ln erank = ln S - Q / (2 S),

and both sums are traces of functions of the matrix. The chain F <- 3 F - 9/4 F F maps [0, 1] into itself and
triples small eigenvalues, so after k products F has lifted those near 3^-k to order 1. Traces of the F_k, and of
products of F_k with its next neighbours, are as many functions of l; weights fitted to them once, in float64, give
S and Q. Eighteen products reach eigenvalues of 1e-8 times the largest, where float32 ends.
"""

import functools
import math

import numpy as np
import torch
from torch import Tensor

from vtp_export.functional.sizes import static_size

PRODUCTS = 18
GROWTH = 3.0
NEIGHBOURS = 3
LIFT_AT, LIFT = 12, 2.0**-5
"""After this product a small multiple of the identity is added. By then rounding noise of an exact null space, which
may be negative, has grown by 3^12; without the lift the next six products would blow negative noise up."""
DEFLATION = 2.0**-8
"""Eigenvalue given to a known null vector, and taken out of the traces again: zero plus noise is worse."""

# The fit: relative error, eased below KNEE, on [FLOOR, 1]; smooth and odd below FLOOR, where there is only noise.
FLOOR, KNEE, EASE = 2e-8, 1.3143e-7, 1.3535
NOISE_BAND, NOISE_WEIGHT, RIDGE = 5.5e-8, 1e-2, 3e-9
GRID, NOISE_GRID = 250, 101


def effective_rank(gram: Tensor, centred: bool) -> Tensor:
    """Exponential of the Shannon entropy of the normalised singular values behind a Gram matrix.

    Args:
        gram: (b, m, m) symmetric positive semi-definite, float32 or float64.
        centred: the ones vector is an exact null vector: the rows of every Gram matrix sum to zero.

    Returns:
        (b,) in [1, m], in the dtype of `gram`; exactly 1 where `gram` is zero. Within 1e-5 of the singular value
        decomposition where eigenvalues below 1e-7 of the largest do not matter; see `bench/erank.py`.
        Features of an exact rank below about ten, which no image gives, may be a quarter too low: the rounding noise
        of their null space is as large as what it is told apart from.

    Example:
        >>> round(effective_rank(torch.eye(4)[None], centred=False).item(), 3)
        4.0
    """
    m = static_size(gram, -1)
    tiny = torch.finfo(gram.dtype).tiny
    eye = torch.eye(m, dtype=gram.dtype, device=gram.device)
    if centred:
        gram = gram - gram.mean(-1, keepdim=True)
        gram = gram - gram.mean(-2, keepdim=True)
    largest = gram.abs().amax((-2, -1), keepdim=True)  # first, so that squares neither overflow nor vanish
    scaled = gram / largest.clamp(min=tiny)
    scaled = scaled / (scaled * scaled).sum((-2, -1), keepdim=True).sqrt().clamp(min=tiny)
    first = scaled + DEFLATION / m if centred else scaled
    traces = _traces(_chain(first, eye), eye)
    total, logs = _weighted(traces, m, centred)
    known = (largest[:, 0, 0] > 0) & (total > 0)
    safe = torch.where(known, total, torch.ones_like(total))
    log_rank = torch.where(known, safe.log() - 0.5 * logs / safe, torch.zeros_like(total))
    return log_rank.clamp(0.0, math.log(m)).exp()


def _chain(first: Tensor, eye: Tensor) -> list[Tensor]:
    """The matrices F_0 .. F_K, (b, m, m) each. Entries are kept in [-1, 1], so nothing can grow."""
    chain = [first]
    for k in range(1, PRODUCTS + 1):
        last = chain[-1]
        following = GROWTH * last - GROWTH**2 / 4 * (last @ last)
        if k == LIFT_AT:
            following = (following + following.transpose(-1, -2)) * 0.5 + LIFT * eye
        chain.append(following.clamp(-1.0, 1.0))
    return chain


def _pairs() -> list[tuple[int, int]]:
    """Neighbours in the chain; a square is left out where the next element of the chain already tells it."""
    last = PRODUCTS
    near = [(i, j) for i in range(last + 1) for j in range(i, min(last, i + NEIGHBOURS) + 1)]
    return [(i, j) for i, j in near if i != j or i == last]


def _traces(chain: list[Tensor], eye: Tensor) -> list[Tensor]:
    """Tr F_i, then tr F_i F_j; each (b,). Summed in two steps, which rounds less than one long sum."""
    single = [(matrix * eye).sum(-1).sum(-1) for matrix in chain]
    return single + [(chain[i] * chain[j]).sum(-1).sum(-1) for i, j in _pairs()]


def _weighted(traces: list[Tensor], m: int, centred: bool) -> tuple[Tensor, Tensor]:
    """S and Q, (b,) each: what null vectors add to the traces is taken out, the rest weighed."""
    null, deflated = _features(np.zeros(1))[0], _features(np.array([DEFLATION]))[0]
    known = deflated + (m - 1) * null if centred else m * null
    sums = []
    for column in _weights().T:
        terms = [float(w) * (trace - float(k)) for w, trace, k in zip(column, traces, known, strict=True)]
        sums.append(torch.stack(terms).sum(0))
    return sums[0], sums[1]


def _features(eigenvalues: np.ndarray) -> np.ndarray:
    """What one eigenvalue adds to each trace: (count, traces), float64."""
    chain = [eigenvalues]
    for k in range(1, PRODUCTS + 1):
        following = GROWTH * chain[-1] - GROWTH**2 / 4 * chain[-1] ** 2
        chain.append(following + (LIFT if k == LIFT_AT else 0.0))
    return np.stack([*chain, *(chain[i] * chain[j] for i, j in _pairs())], axis=1)


@functools.cache
def _weights() -> np.ndarray:
    """(traces, 2): least squares for sqrt(l) and sqrt(l) ln l, with a small ridge so that no weight is large."""
    grid = np.exp(np.linspace(np.log(FLOOR), 0.0, GRID))
    noise = np.linspace(-NOISE_BAND, FLOOR, NOISE_GRID)
    importance = np.minimum(1, (grid / KNEE) ** EASE) / np.sqrt(grid)
    importance = np.concatenate([importance, np.full(NOISE_GRID, NOISE_WEIGHT / math.sqrt(FLOOR))])
    wanted = np.stack([np.sqrt(grid), np.sqrt(grid) * np.log(grid)], axis=1)
    wanted = np.concatenate([wanted, _below_the_floor(noise)])
    columns = (_features(np.concatenate([grid, noise])) - _features(np.zeros(1))) * importance[:, None]
    scale = 1 / np.abs(columns).max(0)
    ridge = RIDGE * math.sqrt(GRID) * np.eye(len(scale))
    left = np.concatenate([columns * scale, ridge])
    right = np.concatenate([wanted * importance[:, None], np.zeros((len(scale), 2))])
    fitted: np.ndarray = np.linalg.lstsq(left, right, rcond=None)[0] * scale[:, None]
    return fitted


def _below_the_floor(noise: np.ndarray) -> np.ndarray:
    """Odd cubics that meet sqrt(l) and sqrt(l) ln l at FLOOR in value and slope, so that noise averages out."""
    x = np.abs(noise) / FLOOR
    root, log = math.sqrt(FLOOR), math.log(FLOOR)
    cubic = root * (1 - log / 2) / 2  # from value root * log and slope root * (log / 2 + 1) at x = 1
    total = np.where(x < 1, root * (1.25 * x - 0.25 * x**3), np.sqrt(x) * root)
    logs = np.where(
        x < 1, (root * log - cubic) * x + cubic * x**3, np.sqrt(x) * root * np.log(np.maximum(x, 1e-9) * FLOOR)
    )
    signed: np.ndarray = np.stack([total, logs], axis=1) * np.sign(noise)[:, None]
    return signed
