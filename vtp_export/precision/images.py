"""The images on which it is decided what may be narrow."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from vtp_export.benchmarks._pictures import Pictures, chosen_pictures
from vtp_export.calibration.ahead import decoded_ahead
from vtp_export.calibration.decoding import Decoder
from vtp_export.calibration.measuring import blocks_of, works_of
from vtp_export.calibrations import Selection
from vtp_export.errors import ImageError, SpecError
from vtp_export.json_records import as_unicode
from vtp_export.runtime.images import batched
from vtp_export.runtime.preprocess import values_of
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
    _pictures: Pictures = field(repr=False)
    _selection: Selection = field(repr=False)
    _preprocessing: Preprocessing = field(repr=False)

    def batches(self) -> Iterator[np.ndarray]:
        """Pixels (b, 3, h, w), read anew each time.

        Raises:
            ImageError: an image cannot be used.
            SpecError: they are no longer those that were there at first.
        """
        digest = hashlib.sha256()
        for _, pixels in _read(self._pictures, self._selection, self._preprocessing):
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
    pictures, selection = chosen_pictures(name, limit=limit)
    digest, names = hashlib.sha256(), []
    for few, pixels in _read(pictures, selection, preprocessing):
        digest.update(pixels.tobytes())
        names += few
    return RangeImages(
        names=tuple(names),
        count=len(selection),
        total=selection.total,
        sha256=digest.hexdigest(),
        _pictures=pictures,
        _selection=selection,
        _preprocessing=preprocessing,
    )


def _read(
    pictures: Pictures, selection: Selection, preprocessing: Preprocessing
) -> Iterator[tuple[list[str], np.ndarray]]:
    """Names and pixels (b, 3, h, w) of a few views: as `calibrate` reads them, but that no picture may be broken."""
    works = works_of(pictures, selection, BATCH, blocks_of(selection, BATCH))
    for ready in decoded_ahead(works, Decoder(preprocessing)):
        if ready.broken:
            raise ImageError(f"a range image cannot be used: {ready.broken[0].reason}")
        for batch in batched(ready.views, BATCH):
            yield [view.name for view in batch], values_of(np.stack([view.pixels for view in batch]), preprocessing)
