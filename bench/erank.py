"""Accuracy of erank in float32 against the float64 SVD, beside an eigenvalue solver on the same float32 Gram matrix.

python -m bench.erank             known spectra
python -m bench.erank real        features of real pictures through towers of real size: see `bench/features.py`
"""

import sys

import numpy as np
import torch

from bench.features import OUT, gram_trials
from bench.frontend import table
from bench.measure import in_turns
from bench.spectra import spectra
from vtp_export.functional.erank import CHAIN, effective_rank
from vtp_export.functional.similarity import spectral_gram
from vtp_export.reference.erank import effective_rank as reference

WORST = 5


def by_eigenvalues(gram: torch.Tensor) -> torch.Tensor:
    """What the paper's appendix A does, but for its floor of 1e-12, which adds to every null direction."""
    singular = torch.linalg.eigvalsh(gram).clamp(min=0).sqrt()
    share = singular / singular.sum(-1, keepdim=True)
    rank: torch.Tensor = (-torch.special.xlogy(share, share).sum(-1)).exp()
    return rank


def known_spectra() -> None:
    """Print the table of spectra that are made, and the time of both ways."""
    rows: list[tuple[object, ...]] = []
    for name, features in spectra().items():
        exact = reference(features, True)
        gram, null_ones = spectral_gram(torch.from_numpy(features)[None], True)
        ours, theirs = (float(v) / exact - 1 for v in (effective_rank(gram, null_ones), by_eigenvalues(gram)))
        rows.append((name, f"{exact:.2f}", f"{abs(theirs):.0e}", f"{abs(ours):.0e}"))
    table("Known spectra", ("features", "erank", "eigvalsh", "in the graph"), rows)
    gram, null_ones = spectral_gram(torch.from_numpy(spectra()["i^-0.8"])[None], True)
    spent = in_turns({"eigvalsh": lambda: by_eigenvalues(gram), "eager": lambda: effective_rank(gram, null_ones)}, 9)
    print(f"\n{CHAIN.products} products, n = 576: " + ", ".join(f"{name} {ms:.1f} ms" for name, ms in spent.items()))


def real_features(new: bool) -> None:
    """Print the worst pictures of every family. Lost: singular values below m eps of the largest, 0 to float32."""
    rows: list[tuple[object, ...]] = []
    for family, (grams, singular, null_ones, pictures) in gram_trials(OUT, new).items():
        share = singular / singular.sum(-1, keepdims=True)
        lost = (singular < singular.shape[1] * np.finfo(np.float32).eps * singular[:, :1]).sum(1) - null_ones
        exact = np.exp(-(share * np.log(np.maximum(share, 1e-300))).sum(-1))
        gram = torch.from_numpy(grams)
        wide, solver = effective_rank(gram.double(), null_ones).numpy(), by_eigenvalues(gram).numpy()
        errors = [np.abs(found / exact - 1) for found in (effective_rank(gram, null_ones).numpy(), wide, solver)]
        for i in np.argsort(-errors[0])[:WORST]:
            rows.append((family, pictures[i], f"{exact[i]:.1f}", lost[i], *(f"{error[i]:.1e}" for error in errors)))
        rows.append((family, f"mean of {len(exact)}", f"{exact.mean():.1f}", "", *(f"{e.mean():.1e}" for e in errors)))
    half = "not seen by the search" if new else "default photographs"
    table(
        f"Real features, {half}",
        ("features", "picture", "erank", "lost", "in the graph", "the same in float64", "float32 eigenvalues"),
        rows,
    )


def main() -> None:
    """Print what is asked for."""
    if sys.argv[1:] == ["real"]:
        real_features(new=False)
        real_features(new=True)
    else:
        known_spectra()


if __name__ == "__main__":
    main()
