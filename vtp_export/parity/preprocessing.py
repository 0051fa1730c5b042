"""Are the pixels right? Judged before any token: tokens of wrong pixels agree with themselves.

The pixels that the manifest's preprocessing makes are held, one by one, against those of the model's own files, and
where Transformers is at hand against its own image processor class.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from PIL import Image

from vtp_export.errors import ImageError
from vtp_export.parity.judged import Gate, Row
from vtp_export.runtime.preprocess import pixel_values
from vtp_export.spec import Preprocessing

IMAGES = 16
"""Pictures of the benchmark that are looked at; `probes` are looked at besides."""

GATE = 1e-5
"""Largest difference of a value of `pixel_values`: some roundings of float32, and a thousandth of a step of a byte."""

MakePixels = Callable[[Image.Image], np.ndarray]
"""From a picture to (v, 3, h, w) values of all its views."""


@dataclass(frozen=True, kw_only=True)
class PixelComparison(Row):
    """The manifest's pixels, held against others.

    identical: pictures whose pixels are within `GATE`.
    largest: largest difference of a value, infinite where even the shapes differ, or a value is not finite; worst: the
        picture that has it.
    """

    name: str
    images: int
    identical: int
    largest: float
    worst: str

    @property
    def held_to(self) -> tuple[Gate, ...]:
        """The largest difference of all pictures."""
        found = f"{self.identical} of {self.images} the same, largest difference {self.largest:.3g}"
        return (Gate("pixels", found, f"differences of at most {GATE:g}", self._told()),)

    def _told(self) -> tuple[str, ...]:
        if self.identical == self.images:
            return ()
        size = f"differ by up to {self.largest:.3g}, above {GATE:g}"
        if self.largest == np.inf:
            size = "have another shape, or are not finite"
        other = f"{self.images - self.identical} of {self.images} pictures get other pixels than the model takes"
        return (f"{other}; those of {self.worst} {size}",)


def compare_pixels(
    preprocessing: Preprocessing, others: Mapping[str, MakePixels], pictures: Iterable[tuple[str, Image.Image]]
) -> tuple[PixelComparison, ...]:
    """Hold what a manifest makes of pictures against what others make of them, one picture in memory at a time.

    Args:
        preprocessing: the manifest's.
        others: what is trusted, by the name that reports show.
        pictures: with their names; `probes` are added.
    """
    differences: dict[str, dict[str, float]] = {name: {} for name in others}
    for picture, image in itertools.chain(pictures, probes()):
        made = _made(preprocessing, image)
        for name, other in others.items():
            differences[name][picture] = difference(made, other(image))
    return tuple(pixel_comparison(f"preprocessing against {name}", seen) for name, seen in differences.items())


def probes() -> Iterator[tuple[str, Image.Image]]:
    """Pictures of noise, wide, tall and small, on which no two filters, paddings or crops agree.

    A benchmark may hold pictures of the model's own size alone, which are not resized at all.
    """
    for width, height in ((643, 401), (263, 517), (29, 23)):
        noise = np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8)
        yield f"a drawn picture of {width} x {height} pixels", Image.fromarray(noise)


def _made(preprocessing: Preprocessing, image: Image.Image) -> np.ndarray | None:
    try:
        pixels: np.ndarray = pixel_values(image, preprocessing)
        return pixels
    except ImageError:  # a size that no honest manifest asks for
        return None


def difference(made: np.ndarray | None, other: np.ndarray) -> float:
    """The largest of a value; infinite where there are no such values, or they have another shape, or a NaN."""
    if made is None or made.shape != other.shape:
        return np.inf
    with np.errstate(invalid="ignore"):
        largest = float(np.abs(made - other).max())
    return np.inf if np.isnan(largest) else largest


def pixel_comparison(name: str, differences: Mapping[str, float]) -> PixelComparison:
    """The comparison of pictures, of which the largest differences are told by name."""
    worst = max(differences, key=lambda picture: differences[picture])
    return PixelComparison(
        name=name,
        images=len(differences),
        identical=sum(difference <= GATE for difference in differences.values()),
        largest=differences[worst],
        worst=worst,
    )
