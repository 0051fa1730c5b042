"""The images on which it is decided what may be narrow."""

import hashlib

import numpy as np

from vtp_export.benchmarks._lookup import benchmark_of
from vtp_export.errors import SpecError
from vtp_export.runtime.preprocess import pixel_values
from vtp_export.spec import Preprocessing

BATCH = 4


def calibration_batches(name: str, limit: int | None, preprocessing: Preprocessing) -> tuple[list[np.ndarray], str]:
    """Batches of pixels, and a digest of them all."""
    images = [example.image for example in benchmark_of(name).calibration().examples(limit)]
    if not images:
        raise SpecError(f"'{name}' holds no calibration images; at least one is needed")
    pixels = pixel_values(images, preprocessing)
    return [pixels[i : i + BATCH] for i in range(0, len(pixels), BATCH)], hashlib.sha256(pixels.tobytes()).hexdigest()
