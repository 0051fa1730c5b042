"""The canvases that a picture's tiles are cut from, as model files write them. Standard library only."""

import dataclasses
import math
from typing import Any

from vtp_export.errors import SpecError, shown
from vtp_export.manifests import LARGEST_EDGE, LONGEST
from vtp_export.spec import Filling, Preprocessing

MOST_PINPOINTS = 100
"""Three times as many as any model has."""

NEXT_PINPOINTS = ((336, 672), (672, 336), (672, 672), (1008, 336), (336, 1008))
"""What Transformers' LLaVA-NeXT takes where nothing is said."""

ONEVISION_PINPOINTS = tuple((384 * rows, 384 * columns) for rows in range(1, 7) for columns in range(1, 7))
"""Likewise LLaVA-OneVision."""


def tiled(
    prep: Preprocessing,
    image_size: int,
    pinpoints: tuple[tuple[int, int], ...],
    filling: Filling = "fit",
    longest: int | None = None,
) -> Preprocessing:
    """The same colours for several views of a picture: the whole of it, squashed, and tiles.

    Args:
        prep: whose sizes do not matter.
        image_size: edge of a view in pixels.
        pinpoints: see `Preprocessing`, as `filling`.
        filling: how a canvas is filled.
        longest: its `resize_longest`.
    """
    size = (image_size, image_size)
    return dataclasses.replace(
        prep,
        resize_shortest=None,
        resize_exact=size,
        crop=None,
        pinpoints=pinpoints,
        filling=filling,
        resize_longest=longest,
    )


def canvases_up_to(most: Any, least: Any, edge: int) -> tuple[tuple[int, int], ...]:
    """Every canvas of so many tiles, those of few first, as InternVL's image processor lists them.

    Args:
        most: `max_patches`, what stands there.
        least: `min_patches`, likewise.
        edge: of a tile in pixels.

    Raises:
        SpecError: no whole numbers, none between them, or more tiles than an image can have.

    Example:
        >>> canvases_up_to(3, 1, 448)
        ((448, 448), (896, 448), (448, 896), (1344, 448), (448, 1344))
    """
    largest = LARGEST_EDGE // edge
    if type(most) is not int or type(least) is not int or not 1 <= least <= most <= largest:
        raise SpecError(
            f"min_patches is {shown(least)} and max_patches {shown(most)}; whole numbers from 1 to {largest} are "
            "needed, the first no larger than the second"
        )
    counts = [(high, wide) for wide in range(1, most + 1) for high in range(1, most + 1)]
    fitting = sorted((pair for pair in counts if least <= math.prod(pair) <= most), key=math.prod)
    return tuple((high * edge, wide * edge) for high, wide in fitting)


def canvases_of_longest(longest: int, edge: int) -> tuple[tuple[int, int], ...]:
    """Every canvas that a picture of that long edge may need.

    Args:
        longest: in pixels.
        edge: of a tile in pixels.

    Example:
        >>> canvases_of_longest(1000, 512)
        ((512, 1024), (1024, 512), (1024, 1024))
    """
    most = math.ceil(longest / edge)
    counts = [(high, wide) for high in range(1, most + 1) for wide in range(1, most + 1) if max(high, wide) == most]
    return tuple((high * edge, wide * edge) for high, wide in sorted(counts, key=math.prod))


def longest_of(size: Any) -> int:
    """Read the long edge that pictures are resized to first.

    Args:
        size: what stands there.

    Raises:
        SpecError: no such edge, or one that is odd or out of range.
    """
    value = size.get("longest_edge") if isinstance(size, dict) else None
    if type(value) is not int or not 2 <= value <= LONGEST or value % 2:
        raise SpecError(
            f"the image processor setting 'size' is {shown(size)}, and {{longest_edge}}, an even number of pixels from "
            f"2 to {LONGEST}, was expected"
        )
    return value


def pinpoints_of(value: Any, image_size: int) -> tuple[tuple[int, int], ...]:
    """Read `image_grid_pinpoints`.

    Args:
        value: what stands there.
        image_size: edge of a tile in pixels.

    Raises:
        SpecError: no list of pairs (height, width), each a multiple of the tile.

    Example:
        >>> pinpoints_of([[336, 672], [672, 336]], 336)
        ((336, 672), (672, 336))
    """
    pairs = value if isinstance(value, (list, tuple)) else ()
    fits = bool(pairs) and len(pairs) <= MOST_PINPOINTS
    for pair in pairs:
        right = isinstance(pair, (list, tuple)) and len(pair) == 2 and all(type(edge) is int for edge in pair)
        fits = fits and right and all(0 < edge <= LARGEST_EDGE and edge % image_size == 0 for edge in pair)
    if not fits:
        raise SpecError(
            f"image_grid_pinpoints is {shown(value)}; 1 to {MOST_PINPOINTS} pairs [height, width] are needed, each a "
            f"multiple of the tile's {image_size} pixels and at most {LARGEST_EDGE}"
        )
    return tuple((height, width) for height, width in pairs)


def refuse_other_pinpoints(written: Any, pinpoints: tuple[tuple[int, int], ...], image_size: int) -> None:
    """See that tiles are cut by the pinpoints by which the model joins them again.

    Args:
        written: what the image processor's file says.
        pinpoints: what `config.json` says.
        image_size: edge of a tile in pixels.

    Raises:
        SpecError: they differ.
    """
    if (own := pinpoints_of(written, image_size)) != pinpoints:
        raise SpecError(
            f"its image_grid_pinpoints are {shown(list(map(list, own)))}, and those of config.json, by which the "
            f"model joins tiles again, are {shown(list(map(list, pinpoints)))}"
        )
