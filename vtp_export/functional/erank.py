"""Effective rank of token features from their Gram matrix, by matrix products alone.

Sources: Roy & Vetterli 2007; AgilePruner, eq. 3 and 7. No runtime has a portable eigenvalue operator. With l the
eigenvalues of the Gram matrix and s = sqrt(l) the singular values,

    S = sum sqrt(l),   Q = sum sqrt(l) ln l,   ln erank = ln S - Q / (2 S),

and both sums are traces of functions of the matrix. The chain F <- a F - a^2/4 F F maps [0, 1] into itself and
multiplies small eigenvalues by a, so after k products F has lifted those near a^-k to order 1. Traces of the F_k, and
of products of F_k with its next neighbours, are as many functions of l; weights fitted to them once, in float64, give
S and Q. All constants come from `bench/fit_erank.py`.
"""

import functools
import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vtp_export.functional.sizes import identity, static_size


@dataclass(frozen=True, kw_only=True)
class Chain:
    """Which functions of the Gram matrix are traced.

    products: length of the chain.
    growth: a, at most 4.
    neighbours: how far apart two elements may be whose product is traced.
    lift_at, lift: after this product the lift, times the identity, is added. By then rounding noise of an exact null
        space, which may be negative, has grown by a^lift_at; without the lift the next products would blow negative
        noise up. Noise down to -lift / a^lift_at, relative to the Frobenius norm, is harmless.
    """

    products: int
    growth: float
    neighbours: int
    lift_at: int
    lift: float

    def pairs(self) -> list[tuple[int, int]]:
        """Neighbours; a square is left out where the next element of the chain already tells it."""
        last = self.products
        near = [(i, j) for i in range(last + 1) for j in range(i, min(last, i + self.neighbours) + 1)]
        return [(i, j) for i, j in near if i != j or i == last]


@dataclass(frozen=True, kw_only=True)
class Fit:
    """What the weights are asked to reproduce.

    floor: relative errors count on [floor, 1]; below there is only noise, and the target is smooth and odd.
    knee, ease: below the knee an error counts less by (l / knee)^ease.
    noise_band, noise_weight: how far below zero the odd target is asked for, and how much it counts.
    ridge: keeps the weights small.
    """

    floor: float
    knee: float
    ease: float
    noise_band: float
    noise_weight: float
    ridge: float


CHAIN = Chain(products=15, growth=3.0, neighbours=2, lift_at=10, lift=2.0**-5.5)
FIT = Fit(
    floor=3.8788e-8, knee=1.03834e-6, ease=2.3612, noise_band=4.29288e-8, noise_weight=1.50912e-2, ridge=2.72585e-9
)
DEFLATION = 2.0**-8
"""Eigenvalue given to a known null vector, and taken out of the traces again: zero plus noise is worse."""
GRID, NOISE_GRID = 250, 101


def effective_rank(gram: Tensor, centred: bool) -> Tensor:
    """Exponential of the Shannon entropy of the normalised singular values behind a Gram matrix.

    Args:
        gram: (b, m, m) symmetric positive semi-definite, float32 or float64.
        centred: the ones vector is an exact null vector: the rows of every Gram matrix sum to zero.

    Returns:
        (b,) in [1, m], in the dtype of `gram`; exactly 1 where `gram` is zero. Within 2e-5 of the singular value
        decomposition where eigenvalues below 1e-7 of the largest do not matter. Within 1e-2 on features of an exact
        low rank, whose null space a float32 Gram matrix fills with noise; see `bench/erank.py`.

    Example:
        >>> round(effective_rank(torch.eye(4)[None], centred=False).item(), 3)
        4.0
    """
    m = static_size(gram, -1)
    largest = gram.abs().amax((-2, -1))
    total, logs = _weighted(traces(gram, centred, CHAIN), m, centred)
    known = (largest > 0) & (total > 0)
    safe = torch.where(known, total, torch.ones_like(total))
    log_rank = torch.where(known, safe.log() - 0.5 * logs / safe, torch.zeros_like(total))
    return log_rank.clamp(0.0, math.log(m)).exp()


def traces(gram: Tensor, centred: bool, chain: Chain) -> list[Tensor]:
    """Tr F_i, then tr F_i F_j of the neighbours; each (b,). Summed in two steps, which rounds less than one long sum.

    Args:
        gram: (b, m, m), as in `effective_rank`.
        centred: the same.
        chain: which.
    """
    m = static_size(gram, -1)
    tiny = torch.finfo(gram.dtype).tiny
    eye = identity(m, gram)
    if centred:
        gram = gram - gram.mean(-1, keepdim=True)
        gram = gram - gram.mean(-2, keepdim=True)
    largest = gram.abs().amax((-2, -1), keepdim=True)  # first, so that squares neither overflow nor vanish
    scaled = gram / largest.clamp(min=tiny)
    scaled = scaled / (scaled * scaled).sum((-2, -1), keepdim=True).sqrt().clamp(min=tiny)
    matrices = _powers(scaled + DEFLATION / m if centred else scaled, eye, chain)
    single = [(matrix * eye).sum(-1).sum(-1) for matrix in matrices]
    return single + [(matrices[i] * matrices[j]).sum(-1).sum(-1) for i, j in chain.pairs()]


def _powers(first: Tensor, eye: Tensor, chain: Chain) -> list[Tensor]:
    """The matrices F_0 .. F_K, (b, m, m) each. Entries are kept in [-1, 1], so nothing can grow."""
    matrices = [first]
    for k in range(1, chain.products + 1):
        last = matrices[-1]
        following = chain.growth * last - chain.growth**2 / 4 * (last @ last)
        if k == chain.lift_at:
            following = (following + following.transpose(-1, -2)) * 0.5 + chain.lift * eye
        matrices.append(following.clamp(-1.0, 1.0))
    return matrices


def _weighted(found: list[Tensor], m: int, centred: bool) -> tuple[Tensor, Tensor]:
    """S and Q, (b,) each: what null vectors add to the traces is taken out, the rest weighed."""
    known = null_traces(m, centred, CHAIN)
    sums = []
    for column in weights(CHAIN, FIT).T:
        terms = [float(w) * (trace - float(k)) for w, trace, k in zip(column, found, known, strict=True)]
        sums.append(torch.stack(terms).sum(0))
    return sums[0], sums[1]


def null_traces(m: int, centred: bool, chain: Chain) -> np.ndarray:
    """What m null vectors, one of them deflated if `centred`, add to every trace: (traces,) float64."""
    null, deflated = _features(np.zeros(1), chain)[0], _features(np.array([DEFLATION]), chain)[0]
    known: np.ndarray = deflated + (m - 1) * null if centred else m * null
    return known


def _features(eigenvalues: np.ndarray, chain: Chain) -> np.ndarray:
    """What one eigenvalue adds to each trace: (count, traces), float64."""
    powers = [eigenvalues]
    for k in range(1, chain.products + 1):
        following = chain.growth * powers[-1] - chain.growth**2 / 4 * powers[-1] ** 2
        powers.append(following + (chain.lift if k == chain.lift_at else 0.0))
    return np.stack([*powers, *(powers[i] * powers[j] for i, j in chain.pairs())], axis=1)


@functools.cache
def weights(chain: Chain, fit: Fit) -> np.ndarray:
    """(traces, 2): least squares for sqrt(l) and sqrt(l) ln l, with a small ridge so that no weight is large."""
    grid = np.exp(np.linspace(np.log(fit.floor), 0.0, GRID))
    noise = np.linspace(-fit.noise_band, fit.floor, NOISE_GRID)
    importance = np.minimum(1, (grid / fit.knee) ** fit.ease) / np.sqrt(grid)
    importance = np.concatenate([importance, np.full(NOISE_GRID, fit.noise_weight / math.sqrt(fit.floor))])
    wanted = np.stack([np.sqrt(grid), np.sqrt(grid) * np.log(grid)], axis=1)
    wanted = np.concatenate([wanted, _below_the_floor(noise, fit.floor)])
    columns = _features(np.concatenate([grid, noise]), chain) - _features(np.zeros(1), chain)
    columns = columns * importance[:, None]
    scale = 1 / np.abs(columns).max(0)
    ridge = fit.ridge * math.sqrt(GRID) * np.eye(len(scale))
    left = np.concatenate([columns * scale, ridge])
    right = np.concatenate([wanted * importance[:, None], np.zeros((len(scale), 2))])
    fitted: np.ndarray = np.linalg.lstsq(left, right, rcond=None)[0] * scale[:, None]
    return fitted


def _below_the_floor(noise: np.ndarray, floor: float) -> np.ndarray:
    """Odd cubics that meet sqrt(l) and sqrt(l) ln l at the floor in value and slope, so that noise averages out."""
    x = np.abs(noise) / floor
    root, log = math.sqrt(floor), math.log(floor)
    cubic = root * (1 - log / 2) / 2  # from value root * log and slope root * (log / 2 + 1) at x = 1
    total = np.where(x < 1, root * (1.25 * x - 0.25 * x**3), np.sqrt(x) * root)
    logs = np.where(
        x < 1, (root * log - cubic) * x + cubic * x**3, np.sqrt(x) * root * np.log(np.maximum(x, 1e-9) * floor)
    )
    signed: np.ndarray = np.stack([total, logs], axis=1) * np.sign(noise)[:, None]
    return signed
