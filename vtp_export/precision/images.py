"""The images on which it is decided what may be narrow."""

import hashlib

import numpy as np

from vtp_export.benchmarks._lookup import benchmark_of
from vtp_export.errors import SpecError
from vtp_export.runtime.images import batched
from vtp_export.runtime.preprocess import pixel_values
from vtp_export.spec import Preprocessing

BATCH = 4


def range_batches(name: str, limit: int | None, preprocessing: Preprocessing) -> tuple[list[np.ndarray], str]:
    """Batches of pixels (b, 3, h, w), and the SHA-256 of them all.

    Raises:
        VtpError: the images cannot be used, or there are none.
    """
    digest, batches = hashlib.sha256(), []
    for batch in batched(benchmark_of(name).calibration().examples(limit), BATCH):
        batches.append(pixel_values((example.open() for example in batch), preprocessing))
        digest.update(batches[-1].tobytes())
    if not batches:
        raise SpecError(f"'{name}' holds no range images; at least one is needed")
    return batches, digest.hexdigest()
