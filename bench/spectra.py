"""Token features for the accuracy of erank, float32: of known spectra (n, d), and of a trained model (b, n, d)."""

import numpy as np
import torch

from vtp_export.benchmarks.shapes import Benchmark
from vtp_export.graphs.assembly import load_model
from vtp_export.runtime.preprocess import pixel_values

N = 576


def power_law(exponent: float, seed: int = 0) -> np.ndarray:
    """Singular values i^-exponent, in random directions."""
    generator = np.random.default_rng(seed)
    left = np.linalg.qr(generator.standard_normal((N, N)))[0]
    right = np.linalg.qr(generator.standard_normal((1024, N)))[0]
    features: np.ndarray = ((left * np.arange(1, N + 1) ** -exponent) @ right.T).astype(np.float32)
    return features


def spectra() -> dict[str, np.ndarray]:
    """All of them, by name."""
    generator = np.random.default_rng(0)
    noise = generator.standard_normal((N, 768))
    smooth = generator.standard_normal((N, 64)) @ generator.standard_normal((64, 768)) / 8 + 0.3 * noise
    duplicates, huge = noise.copy(), noise.copy()
    duplicates[:300] = duplicates[0]
    huge[5] *= 1e4
    found = {
        "smooth maps and noise": smooth,
        **{f"i^-{exponent}": power_law(exponent) for exponent in (0.6, 0.8, 1.0, 1.2, 1.5)},
        "i.i.d. Gaussian": noise,
        "Gaussian, offset of 100": noise + 100,
        "exact rank 64": generator.standard_normal((N, 64)) @ generator.standard_normal((64, 768)),
        "exact rank 8": generator.standard_normal((N, 8)) @ generator.standard_normal((8, 768)),
        "300 duplicates of one token": duplicates,
        "one huge token (1e4)": huge,
        "token scales from 1e-2 to 1e2": noise * 10 ** generator.uniform(-2, 2, (N, 1)),
        "96 channels": noise[:, :96],
    }
    return {name: features.astype(np.float32) for name, features in found.items()}


def trained(images: int = 96) -> np.ndarray:
    """Projected tokens of the embedded model on its calibration scenes: (b, 576, 128)."""
    model = load_model("tiny-llava")
    scenes = [example.open() for example in Benchmark("calibration").examples(images)]
    with torch.inference_mode():
        tokens = model.frontend.encode(torch.from_numpy(pixel_values(scenes, model.preprocessing)), ("projected",))
    assert tokens.projected is not None
    features: np.ndarray = tokens.projected.numpy()
    return features
