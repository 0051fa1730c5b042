"""Effective rank of token features from their Gram matrix, by matrix products alone.

Sources: Roy & Vetterli 2007; AgilePruner, eq. 3 and 7. No runtime has a portable eigenvalue operator. With l the
eigenvalues of the Gram matrix and s = sqrt(l) the singular values,

    S = sum sqrt(l),   Q = sum sqrt(l) ln l,   ln erank = ln S - Q / (2 S),

and both sums are traces of functions of the matrix. The chain G <- a G - a^2/4 G G maps [0, 1] into itself and
multiplies small eigenvalues by a, so after k products G has lifted those near a^-k to order 1. What is computed is
F_k = G_k / a^k, which spares a multiplication of the whole matrix a step. Traces of the F_k, and of products of F_k
with its next neighbours, are as many functions of l; weights fitted to them once, in float64, give S and Q.

A float32 Gram matrix knows its eigenvalues to about 1e-8 of the largest. Features of images have many energies down
there, all positive, and weights must follow them; features of an exact low rank have rounding of both signs instead,
and weights must let it cancel. No weights do both. So there are two sets, on the same traces, and a third that counts
empty directions decides between them. What the sets are fitted to comes from `bench/fit_erank.py`, what chooses between
them was set by hand; what they hold on is in `bench/RESULTS.md`.
"""

import functools
import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vtp_export.functional.products import product
from vtp_export.functional.sizes import capturing, constant, diagonal, identity, static_size


@dataclass(frozen=True, kw_only=True)
class Chain:
    """Which functions of the Gram matrix are traced.

    products: length of the chain.
    growth: a, at most 4.
    neighbours: how far apart two elements may be whose product is traced.
    lift_at, lift: after this product the lift, times the identity, is added to G. By then rounding noise of an exact
        null space, which may be negative, has grown by a^lift_at; without the lift the next products would blow
        negative noise up. Noise down to -lift / a^lift_at, relative to the Frobenius norm, is harmless.
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


CHAIN = Chain(products=17, growth=3.0, neighbours=2, lift_at=11, lift=2.0**-5.5)
RESOLVED = Fit(
    floor=7.17185e-10, knee=1.76126e-7, ease=0.461901, noise_band=1.21604e-7, noise_weight=8.3979e-6, ridge=1e-8
)
"""Follows energies far into the rounding of a float32 Gram matrix, as features of images have them."""
DEFICIENT = Fit(
    floor=3.15875e-8, knee=4.58477e-7, ease=0.487913, noise_band=2.20007e-7, noise_weight=0.295734, ridge=1.86178e-10
)
"""Lets the rounding of a null space, of either sign, cancel: for features most of whose directions hold nothing."""
EMPTY, SMALL, AGAINST = 1e-8, 1e-7, 1.5
"""An exact null space lies below `EMPTY`, relative to the Frobenius norm. Energies that fall off lie there, too, and
fill the decade up to `SMALL`: every direction within it counts against the null space as much as `AGAINST` empty ones.
"""
DEFICIT = 0.03, 0.09
"""Share of directions so counted: up to the first one weights are `RESOLVED`, from the second `DEFICIENT`."""
CAREFUL, PIECES = 4, 8
"""Rounding in the first products is what small eigenvalues suffer from most: it is multiplied by all that follow."""
DEFLATION = 2.0**-8
"""Eigenvalue given to a known null vector, and taken out of the traces again: zero plus noise is worse."""
GRID, NOISE_GRID = 250, 101


def effective_rank(gram: Tensor, centred: bool) -> Tensor:
    """Exponential of the Shannon entropy of the normalised singular values behind a Gram matrix.

    Args:
        gram: (b, m, m) symmetric positive semi-definite, float32 or float64.
        centred: the ones vector is an exact null vector: the rows of every Gram matrix sum to zero.

    Returns:
        (b,) in [1, m], in the dtype of `gram`; exactly 1 where `gram` is zero. Against the singular value
        decomposition, where it is 20 or more: within 2e-4 where float32 loses no direction, from photographs through a
        front end of LLaVA-1.5's size and a trained DINOv2-small to an exact low rank; within 3e-4 at DINOv2's last
        hidden state of such. On a night sky, of whose directions float32 takes tens for zero, it ends: 9e-4 through an
        MLP, 3e-3 at the last hidden state (`python -m bench.erank real`).

    Example:
        >>> round(effective_rank(torch.eye(4)[None], centred=False).item(), 3)
        4.0
    """
    m = static_size(gram, -1)
    largest = gram.abs().amax((-2, -1))
    null, columns = _constants(m, centred, gram)
    sums = traces(gram, centred, CHAIN) - null
    weighed = sums[:, :, None] * columns  # not a matrix product, which may be in TF32
    total, logs, deficient_total, deficient_logs, filled = weighed.sum(1).unbind(-1)
    resolved, deficient = _log_rank(total, logs), _log_rank(deficient_total, deficient_logs)
    low, high = DEFICIT
    mixture = ((1 - filled / m - low) / (high - low)).clamp(0.0, 1.0)
    log_rank = resolved + mixture * (deficient - resolved)
    return torch.where(largest > 0, log_rank, torch.zeros_like(log_rank)).clamp(0.0, math.log(m)).exp()


def _constants(m: int, centred: bool, like: Tensor) -> tuple[Tensor, Tensor]:
    """`null_traces` and `_columns` where `like` is."""
    if capturing():
        return constant(null_traces(m, centred, CHAIN), like), constant(_columns(), like)
    return _placed_constants(m, centred, like.dtype, like.device)


@functools.cache
def _placed_constants(m: int, centred: bool, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """Copied once: every copy waits for a GPU, and a CUDA graph cannot hold one."""
    with torch.inference_mode(False):  # whoever calls next may not be in that mode
        like = torch.empty((), dtype=dtype, device=device)
        return constant(null_traces(m, centred, CHAIN), like), constant(_columns(), like)


def _log_rank(total: Tensor, logs: Tensor) -> Tensor:
    """Ln S - Q / (2 S), or 0 where S is not positive."""
    safe = torch.where(total > 0, total, torch.ones_like(total))
    return torch.where(total > 0, safe.log() - 0.5 * logs / safe, torch.zeros_like(total))


def traces(gram: Tensor, centred: bool, chain: Chain) -> Tensor:
    """Tr F_i, then tr F_i F_j of the neighbours: (b, traces). Summed in two steps, which rounds less than one long sum.

    Args:
        gram: (b, m, m), as in `effective_rank`.
        centred: the same.
        chain: which.
    """
    m = static_size(gram, -1)
    tiny = torch.finfo(gram.dtype).tiny
    if centred:
        gram = gram - gram.mean(-1, keepdim=True)
        gram = gram - gram.mean(-2, keepdim=True)
    largest = gram.abs().amax((-2, -1), keepdim=True)  # first, so that squares neither overflow nor vanish
    scaled = gram / largest.clamp(min=tiny)
    scaled = scaled / (scaled * scaled).sum((-2, -1), keepdim=True).sqrt().clamp(min=tiny)
    matrices = _powers(scaled + DEFLATION / m if centred else scaled, chain)
    rows = [diagonal(matrix) for matrix in matrices]
    rows += [(matrices[i] * matrices[j]).sum(-1) for i, j in chain.pairs()]
    return torch.stack(rows, dim=1).sum(-1)


def _powers(first: Tensor, chain: Chain) -> list[Tensor]:
    """The matrices F_0 .. F_K, (b, m, m) each.

    Entries are brought back to [-1, 1] times a^-k after every second product: whatever comes in, nothing can grow, and
    what two products make of such entries is far from the end of float32.
    """
    a = chain.growth
    matrices = [first]
    for k in range(1, chain.products + 1):
        last = matrices[-1]
        following = last - a**k / 4 * (product(last, last, PIECES) if k <= CAREFUL else last @ last)
        if k == chain.lift_at:
            lift = chain.lift * a**-k * identity(static_size(first, -1), first)
            following = (following + following.transpose(-1, -2)) * 0.5 + lift
        matrices.append(following.clamp(-(a**-k), a**-k) if k % 2 == 0 or k == chain.products else following)
    return matrices


def null_traces(m: int, centred: bool, chain: Chain) -> np.ndarray:
    """What m null vectors, one of them deflated if `centred`, add to every trace: (traces,) float64."""
    null, deflated = _features(np.zeros(1), chain)[0], _features(np.array([DEFLATION]), chain)[0]
    known: np.ndarray = deflated + (m - 1) * null if centred else m * null
    return known


def _features(eigenvalues: np.ndarray, chain: Chain) -> np.ndarray:
    """What one eigenvalue adds to each trace: (count, traces), float64."""
    a = chain.growth
    powers = [eigenvalues]
    for k in range(1, chain.products + 1):
        following = powers[-1] - a**k / 4 * powers[-1] ** 2
        powers.append(following + (chain.lift * a**-k if k == chain.lift_at else 0.0))
    return np.stack([*powers, *(powers[i] * powers[j] for i, j in chain.pairs())], axis=1)


@functools.cache
def _columns() -> np.ndarray:
    """(traces, 5) float64: S and Q as `RESOLVED`, S and Q as `DEFICIENT`, and what is taken from a null space."""
    return np.concatenate([weights(CHAIN, RESOLVED), weights(CHAIN, DEFICIENT), _counting(CHAIN)], axis=1)


def weights(chain: Chain, fit: Fit) -> np.ndarray:
    """(traces, 2): least squares for sqrt(l) and sqrt(l) ln l, with a small ridge so that no weight is large."""
    grid = np.exp(np.linspace(np.log(fit.floor), 0.0, GRID))
    noise = np.linspace(-fit.noise_band, fit.floor, NOISE_GRID)
    importance = np.minimum(1, (grid / fit.knee) ** fit.ease) / np.sqrt(grid)
    importance = np.concatenate([importance, np.full(NOISE_GRID, fit.noise_weight / math.sqrt(fit.floor))])
    wanted = np.stack([np.sqrt(grid), np.sqrt(grid) * np.log(grid)], axis=1)
    wanted = np.concatenate([wanted, _below_the_floor(noise, fit.floor)])
    return _fitted(chain, np.concatenate([grid, noise]), wanted, importance, fit.ridge)


def _counting(chain: Chain) -> np.ndarray:
    """(traces, 1): least squares for what a direction takes from the null space: 0 for an empty one, else 1 or more."""
    grid = np.exp(np.linspace(np.log(EMPTY / 10), 0.0, GRID))
    grid = np.concatenate([-grid[grid < SMALL], grid])
    empty, small = (1 / (1 + (np.maximum(grid, 0) / bound) ** 2) for bound in (EMPTY, SMALL))
    return _fitted(chain, grid, (1 - empty + AGAINST * (small - empty))[:, None], np.ones(len(grid)), ridge=1e-6)


def _fitted(
    chain: Chain, eigenvalues: np.ndarray, wanted: np.ndarray, importance: np.ndarray, ridge: float
) -> np.ndarray:
    """Weights (traces, c) that make of the traces of eigenvalues (g,), less those of 0, what is wanted (g, c)."""
    columns = (_features(eigenvalues, chain) - _features(np.zeros(1), chain)) * importance[:, None]
    scale = 1 / np.abs(columns).max(0)
    left = np.concatenate([columns * scale, ridge * math.sqrt(GRID) * np.eye(len(scale))])
    right = np.concatenate([wanted * importance[:, None], np.zeros((len(scale), wanted.shape[1]))])
    solution: np.ndarray = np.linalg.lstsq(left, right, rcond=None)[0] * scale[:, None]
    return solution


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
