"""The contract of a data set: pictures in a fixed order."""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar

import PIL.Image

from vtp_export.errors import SpecError

Item = TypeVar("Item")


@dataclass(frozen=True)
class Example:
    """One picture and the name that reports show for it; names are unique in a data set."""

    name: str
    image: PIL.Image.Image


class Benchmark(Protocol):
    """A data set. Two passes over `examples` give the same pictures in the same order."""

    def examples(self, limit: int | None) -> Iterator[Example]:
        """Yield the pictures, decoded one at a time.

        Args:
            limit: stop after so many, at least 1; None yields all.

        Raises:
            SpecError: the limit is below 1.
            ImageError: a picture cannot be read.
        """
        ...

    def missing(self) -> str | None:
        """Why this data set cannot be read here and what to install, or None."""
        ...


def limited(items: Iterable[Item], limit: int | None) -> Iterator[Item]:
    """The first `limit` items, or all of them."""
    if limit is not None and limit < 1:
        raise SpecError(f"the limit is {limit}, and a number of images of at least 1 was expected")
    return itertools.islice(items, limit)
