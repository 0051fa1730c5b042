"""Search the constants of `functional/erank.py`: seeded, random, judged in float32 against the singular values.

    python -m bench.fit_erank [TURNS]      default 600 fits of each kind, a quarter of an hour

Two fits share one chain: `RESOLVED` for features of images, `DEFICIENT` for those of an exact low rank. The loss of
each is the worst of its trials, in units of the error that is wanted there. A first part of the fits is drawn freely,
the others around the best so far, ever closer; a chain's float32 traces are computed once. The search looks at the
default photographs; what it finds is then judged on the half of `bench/features.py` that it has not seen.
"""

import math
import sys
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bench.features import OUT, gram_trials
from bench.spectra import power_law, spectra, trained
from vtp_export.functional.erank import CHAIN, DEFICIENT, RESOLVED, Chain, Fit, null_traces, traces, weights
from vtp_export.functional.similarity import spectral_gram

# Wanted relative errors. The hard ones lie where float32 itself ends: see the eigenvalue solver in `bench/erank.py`.
IMAGE_LIKE, TRAINED, OTHER, LOW_RANK = 1e-5, 2e-5, 1e-4, 3e-3
REAL = {"DINOv2-small last": 3e-4, "DINOv2-small through an MLP": 6e-5}
HARD = {
    "i^-1.5": 2e-2,
    "exact rank 64": 1e-4,
    "exact rank 8": 6e-4,
    "one huge token (1e4)": 0.2,
    "token scales from 1e-2 to 1e2": 2e-4,
}
IMAGE_LIKE_NAMES = {"smooth maps and noise", "i^-0.6", "i^-0.8", "i^-1.0", "i.i.d. Gaussian"}
FOR_DEFICIENT = {"i^-1.5", "exact rank 64", "exact rank 8", "one huge token (1e4)", "300 duplicates of one token"}
CHAINS = (
    CHAIN,
    Chain(products=15, growth=3.0, neighbours=2, lift_at=10, lift=2.0**-5.5),
    Chain(products=16, growth=3.0, neighbours=2, lift_at=10, lift=2.0**-7),
    Chain(products=16, growth=3.0, neighbours=2, lift_at=11, lift=2.0**-5.5),
    Chain(products=17, growth=3.0, neighbours=3, lift_at=12, lift=2.0**-4),
    Chain(products=17, growth=2.9, neighbours=2, lift_at=12, lift=2.0**-5),
    Chain(products=18, growth=2.9, neighbours=2, lift_at=12, lift=2.0**-5),
    Chain(products=18, growth=3.0, neighbours=2, lift_at=11, lift=2.0**-5.5),
    Chain(products=18, growth=3.0, neighbours=2, lift_at=13, lift=2.0**-2.5),
)
RANKS, SIZES, DRAWS = (1, 2, 3, 4, 6, 8, 12), ((48, 64), (48, 24), (144, 96)), 20


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


def real_trials(new: bool) -> list[Trial]:
    """Of `bench/features.py`: what a search sees, or what judges it."""
    rows = []
    for family, (grams, singular, null_ones, _) in gram_trials(OUT, new).items():
        share = singular / singular.sum(-1, keepdims=True)
        exact = np.exp(-(share * np.log(np.maximum(share, 1e-300))).sum(-1))
        rows.append(Trial(family, torch.from_numpy(grams), null_ones, exact, REAL.get(family, TRAINED)))
    return rows


def trials() -> list[Trial]:
    """What a chain is searched on."""
    found = real_trials(new=False)
    for name, features in {**spectra(), "i^-0.7": power_law(0.7, 1), "i^-1.1": power_law(1.1, 2)}.items():
        wanted = HARD.get(name, IMAGE_LIKE if name in IMAGE_LIKE_NAMES else OTHER)
        for center in (True, False) if name in IMAGE_LIKE_NAMES else (True,):
            found.append(trial(name, torch.from_numpy(features)[None], center, wanted))
    found.append(trial("tiny-llava, scenes", torch.from_numpy(trained()), True, TRAINED))
    generator = torch.Generator().manual_seed(0)
    for n, d in SIZES:
        for rank in RANKS:
            left = torch.randn(DRAWS, n, rank, generator=generator)
            low = left @ torch.randn(DRAWS, rank, d, generator=generator)
            found.append(trial(f"rank {rank} of {n} x {d}", low, rank % 2 == 0, LOW_RANK))
    return found


def traced(chain: Chain, on: list[Trial]) -> list[np.ndarray]:
    """Float32 traces of every trial less those of null vectors: (b, traces) each."""
    found = []
    for one in on:
        values = traces(one.gram, one.centred, chain).double().numpy()
        found.append(values - null_traces(one.gram.shape[-1], one.centred, chain))
    return found


def losses(chain: Chain, fit: Fit, on: list[Trial], found: list[np.ndarray]) -> dict[str, float]:
    """By trial, the largest relative error in units of the wanted one."""
    fitted = weights(chain, fit)
    result: dict[str, float] = {}
    for one, values in zip(on, found, strict=True):
        total, logs = (values @ fitted).T
        with np.errstate(all="ignore"):
            log_rank = np.nan_to_num(np.log(total) - 0.5 * logs / total, nan=0.0, posinf=99.0, neginf=0.0)
        rank = np.exp(np.clip(log_rank, 0, np.log(one.gram.shape[-1])))
        worst = float(np.abs(rank / one.exact - 1).max()) / one.wanted
        result[one.name] = max(worst, result.get(one.name, 0.0))
    return result


def _between(generator: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(generator.uniform(np.log(low), np.log(high))))


SPANS = {
    "RESOLVED": {  # follows energies far into the noise
        "floor": (1e-11, 1e-8),
        "knee": (1, 300),
        "ease": (0.3, 2.5),
        "noise_band": (1.5e-8, 1.5e-7),
        "noise_weight": (1e-6, 0.3),
        "ridge": (1e-11, 1e-8),
    },
    "DEFICIENT": {  # odd within the noise
        "floor": (1e-9, 8e-8),
        "knee": (1, 60),
        "ease": (0.1, 2.5),
        "noise_band": (3e-8, 3e-7),
        "noise_weight": (1e-3, 0.5),
        "ridge": (1e-11, 1e-8),
    },
}
"""Where a fit of each kind is looked for; the knee in units of the floor."""


def drawn(kind: str, generator: np.random.Generator) -> Fit:
    """A fit out of the spans of its kind, evenly in the logarithm."""
    values = {name: _between(generator, *span) for name, span in SPANS[kind].items()}
    return Fit(**{**values, "knee": values["floor"] * values["knee"]})


def search(kind: str, chain: Chain, on: list[Trial], turns: int, start: Fit) -> tuple[float, str, Fit]:
    """The smallest loss that was seen, the trial that it comes from, and its fit."""
    generator = np.random.default_rng(1)
    values = traced(chain, on)
    best: tuple[float, str, Fit] = (math.inf, "", start)
    for turn in range(turns):
        if turn == 0:
            fit = start
        elif turn < turns // 4:
            fit = drawn(kind, generator)
        else:
            spread = 0.5 * (1 - turn / turns) + 0.02
            fit = Fit(**{name: float(v * np.exp(generator.normal(0, spread))) for name, v in vars(best[2]).items()})
        if fit.floor > fit.knee:
            continue
        loss = losses(chain, fit, on, values)
        worst = max(loss, key=loss.__getitem__)
        if loss[worst] < best[0]:
            best = loss[worst], worst, fit
    return best


def worst_five(loss: dict[str, float], on: list[Trial]) -> str:
    """As relative errors, and in units of what was wanted."""
    wanted = {one.name: one.wanted for one in on}
    worst = sorted(loss, key=loss.__getitem__, reverse=True)[:5]
    return ", ".join(f"{name} {loss[name] * wanted[name]:.1e} ({loss[name]:.2g})" for name in worst)


def main() -> None:
    """For every chain, the fits that were found and what limits them; the first one's start is what is in force."""
    on, judges = trials(), real_trials(new=True)
    low = [one for one in on if one.name in FOR_DEFICIENT or one.name.startswith("rank ")]
    high = [one for one in on if one not in low]
    turns = int(sys.argv[1]) if len(sys.argv) > 1 else 600
    for chain in CHAINS:
        print(chain, flush=True)
        for kind, seen, start in (("RESOLVED", high, RESOLVED), ("DEFICIENT", low, DEFICIENT)):
            _, _, fit = search(kind, chain, seen, turns, start)
            print(f"  {kind}: {fit}\n    seen: {worst_five(losses(chain, fit, seen, traced(chain, seen)), seen)}")
            if kind == "RESOLVED":
                print(
                    f"    unseen: {worst_five(losses(chain, fit, judges, traced(chain, judges)), judges)}", flush=True
                )


if __name__ == "__main__":
    main()
