"""After how many layers a decoder is cut, and settings that are lists of numbers. No torch."""

from collections.abc import Callable, Sequence
from typing import Any

from vtp_export.errors import SpecError
from vtp_export.settings import setting

PUBLISHED, SHALLOW = 32, 24
"""Layers of the decoders that the methods were published for; and of those in which theirs are scaled."""

DEPTHS = "the release; in proportion in a decoder of up to 24 layers"


def depths(published: Sequence[int], layers: int) -> tuple[int, ...]:
    """After how many layers to cut: as published; in proportion, at least one layer apart, in a shallow decoder.

    Args:
        published: for 32 layers.
        layers: of the decoder.

    Raises:
        SpecError: one layer alone leaves no place for a cut.

    Example:
        >>> depths((8, 16, 24), 28), depths((3, 7, 16), 24), depths((3, 7, 16), 4)
        ((8, 16, 24), (2, 5, 12), (1, 2, 3))
    """
    if layers < 2:
        raise SpecError("the decoder has one layer, and pruning inside it needs two or more")
    if layers > SHALLOW:
        return tuple(published)
    places = [0]
    for place in published:
        places.append(max(round(place * layers / PUBLISHED), places[-1] + 1))
    return tuple(place for place in places[1:] if place < layers)


def asked_depths(after: str | None, published: Sequence[int], layers: int, most: int | None = None) -> tuple[int, ...]:
    """What the setting `after` says, or `depths`.

    Args:
        after: the setting, or None.
        published: for 32 layers.
        layers: of the decoder.
        most: cuts of the method, or None for any number.

    Raises:
        SpecError: the decoder has no such layers, or the method no such number of cuts.
    """
    if after is None:
        return depths(published, layers)
    asked = tuple(int(place) for place in listed(after))
    if most is not None and len(asked) > most:
        raise SpecError(f"setting after is '{after}'; of this method it must be {most} numbers at most")
    if asked[-1] >= layers:
        raise SpecError(f"setting after is '{after}'; of a decoder of {layers} layers it must be below {layers}")
    return asked


def matched(name: str, text: str, after: tuple[int, ...]) -> tuple[float, ...]:
    """The numbers of a setting that has one for each cut.

    Raises:
        SpecError: there are more or fewer.
    """
    numbers = listed(text)
    if len(numbers) != len(after):
        places = "/".join(map(str, after))
        raise SpecError(f"setting {name} is '{text}'; it must have {len(after)} numbers, one for each cut ({places})")
    return numbers


def listed(text: str) -> tuple[float, ...]:
    """The numbers of a setting such as "3/7/16".

    Raises:
        ValueError: a part is no number.
    """
    return tuple(float(part) for part in str(text).split("/"))


def numbers(must_be: str, allows: Callable[[tuple[float, ...]], bool], source: str) -> Any:
    """A field that is a list of numbers as text, or left out."""

    def holds(text: str) -> bool:
        try:
            return allows(listed(text))
        except (ValueError, OverflowError):
            return False

    return setting(None, must_be, holds, source)


def after(source: str) -> Any:
    """A field that says after how many layers to cut."""
    return numbers("ascending whole numbers from 1, such as 8 or 3/7/16", _ascend, source)


def _ascend(numbers: tuple[float, ...]) -> bool:
    return all(number == int(number) >= 1 for number in numbers) and list(numbers) == sorted(set(numbers))
