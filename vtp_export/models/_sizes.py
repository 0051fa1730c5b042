"""For which pictures a graph of a model of any resolution is built: it has one size, and somebody has to name it."""

import dataclasses
import math
import re
from dataclasses import dataclass
from typing import Any

from vtp_export.arguments import whole
from vtp_export.errors import ImageError, ModelError, SpecError, shown
from vtp_export.resolutions import AnyResolution
from vtp_export.runtime.resolution import sized
from vtp_export.spec import Manifest

MOST = 1 << 14
"""Tokens or pixels along an edge."""


@dataclass(frozen=True, kw_only=True)
class AskedSize:
    """What is asked for, one of the first two.

    grid: (rows, columns) of tokens. image_size: (width, height) in pixels of a picture, whose own grid it is.
    max_tokens: most tokens of a picture; None for as many as the model's image processor makes.
    of_artefact: whether it is that of an artefact, and of no meaning to a model of one size.
    """

    grid: tuple[int, int] | None = None
    image_size: tuple[int, int] | None = None
    max_tokens: int | None = None
    of_artefact: bool = False


def asked_size(grid: Any = None, image_size: Any = None, max_tokens: Any = None) -> AskedSize | None:
    """Read what a user says; None where nothing is said.

    Args:
        grid: rows and columns of tokens: "26x46", or two numbers.
        image_size: width and height of pictures in pixels: "1280x720", or two numbers.
        max_tokens: a number.

    Raises:
        SpecError: none of that, or both a grid and pictures.

    Example:
        >>> asked_size(grid="26x46").grid
        (26, 46)
    """
    if grid is not None and image_size is not None:
        raise SpecError("grid and image_size are both named, and one follows from the other; name one")
    if grid is None and image_size is None and max_tokens is None:
        return None
    return AskedSize(
        grid=None if grid is None else _pair("grid", grid, "rows and columns of tokens, as 26x46"),
        image_size=None if image_size is None else _pair("image_size", image_size, "width and height, as 1280x720"),
        max_tokens=None if max_tokens is None else whole("max_tokens", max_tokens, 1, MOST**2),
    )


def size_of(manifest: Manifest) -> AskedSize | None:
    """What an artefact was built for; None where its model has one size."""
    rule = manifest.preprocessing.any_resolution
    if rule is None:
        return None
    most = max(1, math.ceil(rule.max_pixels / rule.token**2))
    return AskedSize(grid=manifest.layout.candidates.grid, max_tokens=most, of_artefact=True)


def settled(asked: AskedSize | None, rule: AnyResolution, model: str) -> tuple[tuple[int, int], AnyResolution]:
    """The grid that is built, and what the model then makes of pictures.

    Args:
        asked: by the user.
        rule: of the model's image processor.
        model: its name, for messages.

    Returns:
        (rows, columns) of tokens, and the rule with no more tokens than were asked for.

    Raises:
        ModelError: nobody named a size, no picture has it, or it leaves less than the image processor's least.
    """
    if asked is None or (asked.grid is None and asked.image_size is None):
        raise ModelError(
            f"'{model}' takes pictures of any size, and a graph has one: name it, as tokens (--grid 26x46) or as the "
            "pictures that it is for (--image-size 1280x720)"
        )
    if asked.max_tokens is not None:
        most = min(rule.max_pixels, asked.max_tokens * rule.token**2)
        if most < rule.min_pixels:
            raise ModelError(
                f"max_tokens is {asked.max_tokens}, and the image processor of '{model}' makes at least "
                f"{math.ceil(rule.min_pixels / rule.token**2)} of a picture"
            )
        rule = dataclasses.replace(rule, max_pixels=most)
    rows, columns = asked.grid or (1, 1)
    picture = asked.image_size or (columns * rule.token, rows * rule.token)
    try:
        high, wide = sized(picture, rule)
    except ImageError as error:
        raise ModelError(f"no picture can have that size: {error}") from error
    made = high // rule.token, wide // rule.token
    if asked.grid is not None and made != asked.grid:
        raise ModelError(
            f"no picture has {rows} x {columns} tokens: one of {picture[0]} x {picture[1]} pixels gets {made[0]} x "
            f"{made[1]}, because '{model}' bounds a picture by {rule.min_pixels} and {rule.max_pixels} pixels"
        )
    if max(high, wide) > MOST:
        raise ModelError(f"{high} x {wide} pixels are more than {MOST} along an edge; ask for fewer")
    return made, rule


def _pair(name: str, value: Any, meant: str) -> tuple[int, int]:
    numbers: Any = value
    if isinstance(value, str):
        match = re.fullmatch(r"\s*(\d{1,9})\s*[xX]\s*(\d{1,9})\s*", value, re.ASCII)
        numbers = () if match is None else tuple(map(int, match.groups()))
    if not isinstance(numbers, (tuple, list)) or len(numbers) != 2:
        raise SpecError(f"{name} is {shown(value)}; it must be {meant}")
    first, second = (whole(name, number, 1, MOST) for number in numbers)
    return first, second
