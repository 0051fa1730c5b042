"""For which pictures a graph of a model of any resolution is built: it has one size, and somebody has to name it."""

import dataclasses
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vtp_export.arguments import whole
from vtp_export.errors import ImageError, ModelError, SpecError, shown
from vtp_export.resolutions import AnyResolution
from vtp_export.runtime.resolution import sized
from vtp_export.spec import Manifest

MOST = 1 << 14
"""Tokens or pixels along an edge."""

SHAPES = ((1, 1), (4, 3), (3, 4), (3, 2), (2, 3), (16, 9), (9, 16))
"""Width to height of pictures that most people have: what is built where only a number of tokens is named."""


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
    one = None if grid is None else [_pair(GRID, grid)], None if image_size is None else [_pair(SIZE, image_size)]
    sizes = asked_sizes(*one, max_tokens)
    return sizes[0] if sizes else None


def asked_sizes(grid: Any = None, image_size: Any = None, max_tokens: Any = None) -> tuple[AskedSize, ...]:
    """As `asked_size`, and several grids and sizes of pictures may be named; one without either where only tokens are.

    Raises:
        SpecError: none of that.

    Example:
        >>> [size.grid for size in asked_sizes(grid=["26x46", (35, 35)])]
        [(26, 46), (35, 35)]
    """
    most = None if max_tokens is None else whole("max_tokens", max_tokens, 1, MOST**2)
    named = [AskedSize(grid=_pair(GRID, one), max_tokens=most) for one in _each(grid)]
    named += [AskedSize(image_size=_pair(SIZE, one), max_tokens=most) for one in _each(image_size)]
    return tuple(named) or (() if most is None else (AskedSize(max_tokens=most),))


def distinct(sizes: Sequence[AskedSize], rule: AnyResolution, model: str) -> tuple[AskedSize, ...]:
    """Those of which each makes another grid; of a number of tokens alone the grids of all `SHAPES`.

    Such a grid is what the image processor makes of a picture of that shape and no fewer tokens.

    Raises:
        ModelError: as `settled`.
    """
    alone = [size for size in sizes if size.grid is None and size.image_size is None]
    if alone:
        most = alone[0].max_tokens or 1
        scales = [rule.token * math.ceil(math.sqrt(most / (width * height))) for width, height in SHAPES]
        sizes = [
            AskedSize(image_size=(scale * width, scale * height), max_tokens=most)
            for scale, (width, height) in zip(scales, SHAPES, strict=True)
        ]
    made: dict[tuple[int, int], AskedSize] = {}
    for size in sizes:
        made.setdefault(settled(size, rule, model)[0], size)
    return tuple(made.values())


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


GRID = "grid", "rows and columns of tokens, as 26x46"
SIZE = "image_size", "width and height, as 1280x720"


def _each(value: Any) -> tuple[Any, ...]:
    """Several, one, or none: two numbers are one."""
    if value is None:
        return ()
    several = isinstance(value, (tuple, list)) and value and all(isinstance(one, (str, tuple, list)) for one in value)
    return tuple(value) if several else (value,)


def _pair(named: tuple[str, str], value: Any) -> tuple[int, int]:
    name, meant = named
    numbers: Any = value
    if isinstance(value, str):
        match = re.fullmatch(r"\s*(\d{1,9})\s*[xX]\s*(\d{1,9})\s*", value, re.ASCII)
        numbers = () if match is None else tuple(map(int, match.groups()))
    if not isinstance(numbers, (tuple, list)) or len(numbers) != 2:
        raise SpecError(f"{name} is {shown(value)}; it must be {meant}")
    first, second = (whole(name, number, 1, MOST) for number in numbers)
    return first, second
