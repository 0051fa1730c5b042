"""Accuracy of erank in float32 against the float64 SVD, beside an eigenvalue solver on the same float32 Gram matrix.

python -m bench.erank
"""

import torch

from bench.measure import in_turns
from bench.spectra import spectra
from vtp_export.functional.erank import CHAIN, effective_rank
from vtp_export.functional.similarity import spectral_gram
from vtp_export.reference.erank import effective_rank as reference


def by_eigenvalues(gram: torch.Tensor) -> torch.Tensor:
    """What the paper's appendix A does."""
    singular = torch.linalg.eigvalsh(gram).clamp(min=1e-12).sqrt()
    share = singular / singular.sum(-1, keepdim=True)
    return (-(share * (share + 1e-12).log()).sum(-1)).exp()


def main() -> None:
    """Print two tables."""
    print("| features | erank | eigvalsh | in the graph |\n|---|---|---|---|")
    for name, features in spectra().items():
        exact = reference(features, True)
        gram, null_ones = spectral_gram(torch.from_numpy(features)[None], True)
        ours, theirs = (float(v) / exact - 1 for v in (effective_rank(gram, null_ones), by_eigenvalues(gram)))
        print(f"| {name} | {exact:.2f} | {abs(theirs):.0e} | {abs(ours):.0e} |")
    gram, null_ones = spectral_gram(torch.from_numpy(spectra()["i^-0.8"])[None], True)
    spent = in_turns({"eigvalsh": lambda: by_eigenvalues(gram), "eager": lambda: effective_rank(gram, null_ones)}, 9)
    print(f"\n{CHAIN.products} products, n = 576: " + ", ".join(f"{name} {ms:.1f} ms" for name, ms in spent.items()))


if __name__ == "__main__":
    main()
