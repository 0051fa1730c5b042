"""The images on which it is decided what may be narrow."""

import hashlib
from dataclasses import dataclass

import numpy as np

from vtp_export.benchmarks._lookup import benchmark_of
from vtp_export.errors import SpecError
from vtp_export.json_records import as_unicode
from vtp_export.runtime.images import batched
from vtp_export.runtime.preprocess import pixel_values
from vtp_export.spec import Preprocessing

BATCH = 4


@dataclass(frozen=True)
class RangeImages:
    """Images spread over a data set.

    batches: of pixels (b, 3, h, w). names: of all of them. sha256: of all pixels. total: how many the data set holds.
    """

    batches: tuple[np.ndarray, ...]
    names: tuple[str, ...]
    sha256: str
    total: int

    @property
    def count(self) -> int:
        """How many images."""
        return len(self.names)


def range_images(name: str, limit: int | None, preprocessing: Preprocessing) -> RangeImages:
    """Read so many images of a folder or of a benchmark's calibration split.

    Raises:
        VtpError: the images cannot be used, or there are none.
    """
    if as_unicode(name) != name:
        raise SpecError(f"the name '{name}' is no UTF-8 text, and no manifest could hold it; rename the folder")
    examples, total = benchmark_of(name).calibration().spread(limit)
    if not examples:
        raise SpecError(f"'{name}' holds no range images; at least one is needed")
    digest, batches = hashlib.sha256(), []
    for batch in batched(examples, BATCH):
        batches.append(pixel_values((example.open() for example in batch), preprocessing))
        digest.update(batches[-1].tobytes())
    return RangeImages(tuple(batches), tuple(example.name for example in examples), digest.hexdigest(), total)
