"""The effective rank holds on the spectra of real pictures, without the towers that gave them.

`tests/data/spectra.npz`, made by `python -m bench.features spectra`: singular values of centred token features of
default photographs. Matrices with those singular values and random directions stand for the features.
"""

import functools
from pathlib import Path

import numpy as np
import pytest
import torch

from vtp_export.functional.erank import effective_rank
from vtp_export.functional.similarity import spectral_gram

with np.load(Path(__file__).parent / "data" / "spectra.npz") as file:
    SPECTRA = {name: file[name].astype(np.float64) for name in file.files}
FAMILIES = sorted({name.partition("/")[0] for name in SPECTRA})
PROMISED = 2e-4
# Where many directions lie below what a float32 Gram matrix can hold: a night sky.
BEYOND_FLOAT32 = {
    "DINOv2-small last/rocket": 1e-3,
    "DINOv2-small last/clock_motion": 6e-4,
    "DINOv2-small through an MLP/rocket": 7e-4,
}


@functools.cache
def orthonormal(rows, columns, centred):
    """(rows, columns) with orthonormal columns, orthogonal to the ones vector if `centred`."""
    drawn = np.random.default_rng(rows).standard_normal((rows, columns))
    return np.linalg.qr(drawn - drawn.mean(0) if centred else drawn)[0]


def rank_of(singular):
    """The effective rank by its definition."""
    share = singular[singular > 0] / singular.sum()
    return np.exp(-(share * np.log(share)).sum())


def errors(family, d, centred, dtype):
    """Of each spectrum of a family, as (n, d) features with d above or below n."""
    rows = {}
    for name in (name for name in SPECTRA if name.startswith(f"{family}/")):
        m = len(SPECTRA[name])
        n, channels = (m, m + 64) if d == "above" else (m + 64, m)
        values = SPECTRA[name][: m - 1]  # of n centred tokens the last singular value is zero
        features = (orthonormal(n, m - 1, centred) * values) @ orthonormal(channels, m - 1, False).T
        features = features + 3 * values[0] / n if centred else features  # an offset that centring takes away
        gram, null_ones = spectral_gram(torch.from_numpy(features.astype(dtype))[None], centred)
        rows[name] = abs(effective_rank(gram, null_ones).item() / rank_of(values) - 1)
    return rows


@pytest.mark.parametrize(
    "family", [pytest.param(name, marks=pytest.mark.whole if i % 3 else ()) for i, name in enumerate(FAMILIES)]
)
@pytest.mark.parametrize(
    ("d", "centred", "dtype"),
    [
        ("above", True, np.float32),
        ("below", True, np.float32),
        ("above", False, np.float32),
        ("below", False, np.float64),
    ],
)
def test_holds_on_the_spectra_of_real_pictures(family, d, centred, dtype):
    for name, error in errors(family, d, centred, dtype).items():
        assert error <= BEYOND_FLOAT32.get(name, PROMISED), f"{name}: {error:.1e}"


def test_every_family_has_its_hardest_pictures():
    assert len(FAMILIES) == 8
    assert len(SPECTRA) == 4 * len(FAMILIES)
    assert set(BEYOND_FLOAT32) <= set(SPECTRA)
    assert all(rank_of(singular) >= 20 for singular in SPECTRA.values())
