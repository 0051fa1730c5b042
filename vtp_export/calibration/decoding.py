"""From pictures to the bytes that a model sees: what runs beside the model, in a thread or in processes of its own.

A picture that cannot be read is told of, and is no error here. NumPy and Pillow only.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from vtp_export.calibrations import Broken
from vtp_export.errors import VtpError, first_line
from vtp_export.runtime.preprocess import model_views
from vtp_export.runtime.resolution import stretching
from vtp_export.runtime.tiles import view_names
from vtp_export.spec import Preprocessing


class Picture(Protocol):
    """A picture of a data set, not decoded yet. `open` can be sent to another process."""

    @property
    def name(self) -> str:
        """Unique in the data set."""
        ...

    @property
    def open(self) -> Callable[[], Image.Image]:
        """Decodes it."""
        ...


class Change(Protocol):
    """What is to be measured of a picture besides the picture itself. Can be sent to another process."""

    def __call__(self, image: Image.Image, position: int) -> Iterator[Image.Image]:
        """Variants of a picture, always as many."""
        ...


def unchanged(image: Image.Image, position: int) -> Iterator[Image.Image]:
    """No variants."""
    return iter(())


@dataclass(frozen=True)
class Work:
    """A run of neighbouring pictures, each with where it stands in the data set."""

    number: int
    pictures: tuple[tuple[int, Picture], ...]


@dataclass(frozen=True, kw_only=True)
class View:
    """What the model sees of a picture, or of a part or a variant of it. pixels: (h, w, 3). See `columns.Row`."""

    position: int
    name: str
    view: int
    variant: int
    pixels: npt.NDArray[np.uint8]
    digest: str


@dataclass(frozen=True)
class Decoded:
    """The views of a run of pictures, those that could not be read, and sentences for the user."""

    number: int
    views: tuple[View, ...]
    broken: tuple[Broken, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Decoder:
    """Does the work; can be sent to another process."""

    preprocessing: Preprocessing
    change: Change = unchanged

    def __call__(self, work: Work) -> Decoded:
        """One picture in memory at a time, and the views of all."""
        views: list[View] = []
        broken = []
        for position, picture in work.pictures:
            try:
                views += self._views(position, picture)
            except (VtpError, MemoryError) as error:
                broken.append(Broken(position, plain(picture.name), first_line(error)))
        return Decoded(work.number, tuple(views), tuple(broken))

    def _views(self, position: int, picture: Picture) -> list[View]:
        image, prep, made = picture.open(), stretching(self.preprocessing), []
        for variant, one in enumerate((image, *self.change(image, position))):
            seen = model_views(one, prep, [picture.name])
            for view, (name, pixels) in enumerate(zip(view_names(plain(picture.name), len(seen)), seen, strict=True)):
                digest = hashlib.sha256(pixels.tobytes()).hexdigest()
                made.append(
                    View(position=position, name=name, view=view, variant=variant, pixels=pixels, digest=digest)
                )
        return made


def plain(name: str) -> str:
    """A name without the character that parts names."""
    return name.replace("\0", "\\0")


def alone(work: Work) -> Sequence[Work]:
    """Each picture as work of its own."""
    return [Work(work.number, (one,)) for one in work.pictures]


def together(number: int, parts: Sequence[Decoded]) -> Decoded:
    """One again."""
    return Decoded(
        number,
        tuple(view for part in parts for view in part.views),
        tuple(one for part in parts for one in part.broken),
        tuple(note for part in parts for note in part.notes),
    )
