"""The canvases that a picture's tiles are cut from, as model files write them. Standard library only."""

import dataclasses
from typing import Any

from vtp_export.errors import SpecError, shown
from vtp_export.manifests import LARGEST_EDGE
from vtp_export.spec import Preprocessing

MOST_PINPOINTS = 100
"""Three times as many as any model has."""

NEXT_PINPOINTS = ((336, 672), (672, 336), (672, 672), (1008, 336), (336, 1008))
"""What Transformers' LLaVA-NeXT takes where nothing is said."""

ONEVISION_PINPOINTS = tuple((384 * rows, 384 * columns) for rows in range(1, 7) for columns in range(1, 7))
"""Likewise LLaVA-OneVision."""


def tiled(prep: Preprocessing, image_size: int, pinpoints: tuple[tuple[int, int], ...]) -> Preprocessing:
    """The same colours for several views of a picture: the whole of it, squashed, and tiles.

    Args:
        prep: whose sizes do not matter.
        image_size: edge of a view in pixels.
        pinpoints: see `Preprocessing`.
    """
    size = (image_size, image_size)
    return dataclasses.replace(prep, resize_shortest=None, resize_exact=size, crop=None, pinpoints=pinpoints)


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
