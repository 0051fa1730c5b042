"""Search the constants of `functional/erank.py`: seeded, random, judged in float32 against the singular values.

python -m bench.fit_erank [TURNS]      default 300 fits of each chain in CHAINS, some minutes; the best is in force

The loss is the worst of all kinds of features, each in units of the error that is wanted of it. A first quarter of the
fits is drawn freely, the others around the best so far, ever closer. A chain's float32 traces are computed once.
"""

import math
import sys
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bench.spectra import power_law, spectra, trained
from vtp_export.functional.erank import CHAIN, FIT, Chain, Fit, null_traces, traces, weights
from vtp_export.functional.similarity import spectral_gram

# Wanted relative errors. The hard ones lie where float32 itself ends: see the eigenvalue solver in `bench/erank.py`.
IMAGE_LIKE, TRAINED, OTHER, LOW_RANK = 1e-5, 1e-4, 1e-4, 3e-3
HARD = {
    "i^-1.5": 4e-2,
    "exact rank 64": 5e-4,
    "exact rank 8": LOW_RANK,
    "one huge token (1e4)": 0.2,
    "token scales from 1e-2 to 1e2": 7e-4,
}
IMAGE_LIKE_NAMES = {"smooth maps and noise", "i^-0.6", "i^-0.8", "i^-1.0", "i.i.d. Gaussian"}
CHAINS = (
    CHAIN,
    Chain(products=18, growth=3.0, neighbours=3, lift_at=12, lift=2.0**-3.5),
    Chain(products=17, growth=3.0, neighbours=3, lift_at=12, lift=2.0**-4),
    Chain(products=16, growth=3.0, neighbours=2, lift_at=12, lift=2.0**-4),
    Chain(products=16, growth=3.0, neighbours=2, lift_at=11, lift=2.0**-5),
    Chain(products=16, growth=3.2, neighbours=2, lift_at=11, lift=2.0**-4),
    Chain(products=15, growth=3.0, neighbours=2, lift_at=11, lift=2.0**-5),
    Chain(products=15, growth=3.2, neighbours=3, lift_at=11, lift=2.0**-4),
)
RANKS, SIZES, DRAWS = (1, 2, 3, 4, 6, 8, 12), ((48, 64), (48, 24), (144, 96)), 60


@dataclass(frozen=True)
class Trial:
    """Gram matrices of one kind, their true effective ranks, and the relative error that is wanted."""

    name: str
    gram: Tensor
    centred: bool
    exact: np.ndarray
    wanted: float


def trial(name: str, features: Tensor, center: bool, wanted: float) -> Trial:
    """(b, n, d) float32 features, with the effective ranks that the float64 singular values give."""
    wide = features.double()
    singular = torch.linalg.svdvals(wide - wide.mean(1, keepdim=True) if center else wide)
    share = singular / singular.sum(-1, keepdim=True)
    exact = (-torch.special.xlogy(share, share).sum(-1)).exp().numpy()
    return Trial(name, *spectral_gram(features, center), exact, wanted)


def trials() -> list[Trial]:
    """What a chain is judged on."""
    found = []
    for name, features in {**spectra(), "i^-0.7": power_law(0.7, 1), "i^-1.1": power_law(1.1, 2)}.items():
        wanted = HARD.get(name, IMAGE_LIKE if name in IMAGE_LIKE_NAMES else OTHER)
        for center in (True, False) if name in IMAGE_LIKE_NAMES else (True,):
            found.append(trial(name, torch.from_numpy(features)[None], center, wanted))
    found.append(trial("tiny-llava", torch.from_numpy(trained()), True, TRAINED))
    generator = torch.Generator().manual_seed(0)
    for n, d in SIZES:
        for rank in RANKS:
            left = torch.randn(DRAWS, n, rank, generator=generator)
            features = left @ torch.randn(DRAWS, rank, d, generator=generator)
            found.append(trial(f"rank {rank} of {n} x {d}", features, rank % 2 == 0, LOW_RANK))
    return found


def traced(chain: Chain, on: list[Trial]) -> list[np.ndarray]:
    """Float32 traces of every trial less those of null vectors: (b, traces) each."""
    found = []
    for one in on:
        values = torch.stack(traces(one.gram, one.centred, chain), -1).double().numpy()
        found.append(values - null_traces(one.gram.shape[-1], one.centred, chain))
    return found


def losses(chain: Chain, fit: Fit, on: list[Trial], found: list[np.ndarray]) -> dict[str, float]:
    """By trial, the largest relative error in units of the wanted one."""
    fitted = weights(chain, fit)
    result = {}
    for one, values in zip(on, found, strict=True):
        total, logs = (values @ fitted).T
        with np.errstate(all="ignore"):
            log_rank = np.nan_to_num(np.log(total) - 0.5 * logs / total, nan=0.0, posinf=99.0, neginf=0.0)
        rank = np.exp(np.clip(log_rank, 0, np.log(one.gram.shape[-1])))
        worst = float(np.abs(rank / one.exact - 1).max()) / one.wanted
        result[one.name] = max(worst, result.get(one.name, 0.0))
    return result


def drawn_fit(generator: np.random.Generator) -> Fit:
    """Within an order of magnitude of the one in force."""

    def between(low: float, high: float) -> float:
        return float(np.exp(generator.uniform(np.log(low), np.log(high))))

    floor = between(5e-9, 1e-7)
    return Fit(
        floor=floor,
        knee=floor * between(1, 30),
        ease=between(0.3, 2),
        noise_band=between(5e-8, 4e-7),
        noise_weight=between(1e-3, 0.3),
        ridge=between(1e-10, 1e-7),
    )


def search(chain: Chain, on: list[Trial], turns: int) -> tuple[float, str, Fit]:
    """The smallest loss that was found, the trial that it comes from, and its fit."""
    generator = np.random.default_rng(1)
    found = traced(chain, on)
    best: tuple[float, str, Fit] = (math.inf, "", FIT)
    for turn in range(turns):
        if turn < turns // 4:
            fit = drawn_fit(generator)
        else:
            spread = 0.4 * (1 - turn / turns) + 0.02
            near = {name: float(value * np.exp(generator.normal(0, spread))) for name, value in vars(best[2]).items()}
            fit = Fit(**near)
        if fit.floor > fit.knee:
            continue
        loss = losses(chain, fit, on, found)
        worst = max(loss, key=loss.__getitem__)
        if loss[worst] < best[0]:
            best = loss[worst], worst, fit
    return best


def main() -> None:
    """Print the constants in force, then what was found for every chain, and what limits it."""
    on = trials()
    in_force = losses(CHAIN, FIT, on, traced(CHAIN, on))
    print(f"in force: {max(in_force.values()):.3g}, limited by {max(in_force, key=in_force.__getitem__)}", flush=True)
    for chain in CHAINS:
        loss, name, fit = search(chain, on, int(sys.argv[1]) if len(sys.argv) > 1 else 300)
        print(f"{loss:.3g}, limited by {name}\n  {chain}\n  {fit}", flush=True)


if __name__ == "__main__":
    main()
