"""The images on which it is decided what may be narrow."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from vtp_export.benchmarks._lookup import benchmark_of
from vtp_export.benchmarks.base import Example
from vtp_export.errors import SpecError
from vtp_export.json_records import as_unicode
from vtp_export.runtime.images import batched
from vtp_export.runtime.preprocess import named_views, values_of
from vtp_export.spec import Preprocessing

BATCH = 4


@dataclass(frozen=True, kw_only=True)
class RangeImages:
    """Images spread over a data set, of which one batch is in memory at a time.

    names: of every view, of which an image may be several. count: how many images. total: how many the data set holds.
    sha256: of all pixels.
    """

    names: tuple[str, ...]
    count: int
    total: int
    sha256: str
    _examples: tuple[Example, ...] = field(repr=False)
    _preprocessing: Preprocessing = field(repr=False)

    def batches(self) -> Iterator[np.ndarray]:
        """Pixels (b, 3, h, w), read anew each time.

        Raises:
            ImageError: an image cannot be used.
            SpecError: they are no longer those that were there at first.
        """
        digest = hashlib.sha256()
        for _, pixels in _read(self._examples, self._preprocessing):
            digest.update(pixels.tobytes())
            yield pixels
        if digest.hexdigest() != self.sha256:
            raise SpecError("the range images were changed while they were in use; start again")


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
    digest, names = hashlib.sha256(), []
    for few, pixels in _read(examples, preprocessing):
        digest.update(pixels.tobytes())
        names += few
    return RangeImages(
        names=tuple(names),
        count=len(examples),
        total=total,
        sha256=digest.hexdigest(),
        _examples=tuple(examples),
        _preprocessing=preprocessing,
    )


def _read(examples: Sequence[Example], preprocessing: Preprocessing) -> Iterator[tuple[list[str], np.ndarray]]:
    """Names and pixels (b, 3, h, w) of a few views."""
    views = named_views(((example.name, example.open()) for example in examples), preprocessing)
    for batch in batched(views, BATCH):
        yield [name for name, _ in batch], values_of(np.stack([view for _, view in batch]), preprocessing)
