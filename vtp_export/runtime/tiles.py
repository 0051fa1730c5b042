"""A picture as several views: the whole of it, squashed to a square, and tiles of it at a higher resolution.

As transformers' `LlavaNextImageProcessorPil` and `LlavaOnevisionImageProcessorPil` cut it. Of the canvases that the
model names (`Preprocessing.pinpoints`) the best is taken, the picture is fitted into it between black bars, and the
canvas is cut into tiles, row by row. NumPy and Pillow only.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from vtp_export.spec import Preprocessing

Box = tuple[float, float, float, float]
"""Left, top, right and bottom, in pixels of the picture."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a picture is cut; sizes are (height, width) in pixels.

    grid: (rows, columns) of tiles. tile: their size. fitted: the picture on the canvas. start: its (top, left) there.
    """

    grid: tuple[int, int]
    tile: tuple[int, int]
    fitted: tuple[int, int]
    start: tuple[int, int]

    @property
    def tiles(self) -> int:
        """How many."""
        return self.grid[0] * self.grid[1]


def plan(size: tuple[int, int], prep: Preprocessing) -> Plan:
    """Choose the canvas.

    Args:
        size: (width, height) of the picture in pixels, at least 1.
        prep: the model's preprocessing, with pinpoints.

    Example:
        >>> from vtp_export.runtime.pinpoints import NEXT_PINPOINTS, tiled
        >>> from vtp_export.runtime.processor_config import clip_preprocessing
        >>> plan((640, 480), tiled(clip_preprocessing(336), 336, NEXT_PINPOINTS))
        Plan(grid=(2, 2), tile=(336, 336), fitted=(504, 672), start=(84, 0))
    """
    width, height = size
    assert prep.resize_exact is not None  # the manifest says so where there are pinpoints
    tile = prep.resize_exact[0], prep.resize_exact[1]
    canvas = best_resolution((height, width), prep.pinpoints)
    across, down = canvas[1] / width, canvas[0] / height
    if across < down:
        fitted = min(math.ceil(height * across), canvas[0]), canvas[1]
    else:
        fitted = canvas[0], min(math.ceil(width * down), canvas[1])
    start = (canvas[0] - fitted[0]) // 2, (canvas[1] - fitted[1]) // 2
    return Plan(grid=(canvas[0] // tile[0], canvas[1] // tile[1]), tile=tile, fitted=fitted, start=start)


def best_resolution(size: tuple[int, int], pinpoints: tuple[tuple[int, int], ...]) -> tuple[int, int]:
    """The canvas on which most of the picture's pixels are seen; of equals the smallest, of these the first.

    Args:
        size: (height, width) of the picture.
        pinpoints: canvases (height, width).
    """

    def seen(canvas: tuple[int, int]) -> int:
        scale = min(canvas[1] / size[1], canvas[0] / size[0])
        return min(int(size[1] * scale) * int(size[0] * scale), size[0] * size[1])

    return max(pinpoints, key=lambda canvas: (seen(canvas), -canvas[0] * canvas[1]))


def cut(image: Image.Image, prep: Preprocessing) -> list[npt.NDArray[np.uint8]]:
    """The views of a picture, (h, w, 3) each: the whole, then tiles row by row.

    Args:
        image: in RGB.
        prep: the model's preprocessing, with pinpoints.
    """
    chosen, filter = plan(image.size, prep), Image.Resampling(prep.resample)
    (height, width), (top, left) = chosen.tile, chosen.start
    views = [np.asarray(image.resize((width, height), filter))]
    canvas = np.zeros((chosen.grid[0] * height, chosen.grid[1] * width, 3), dtype=np.uint8)
    fitted = np.asarray(image.resize(chosen.fitted[::-1], filter))
    canvas[top : top + chosen.fitted[0], left : left + chosen.fitted[1]] = fitted
    for y in range(0, canvas.shape[0], height):
        views += [canvas[y : y + height, x : x + width] for x in range(0, canvas.shape[1], width)]
    return views


def boxes(size: tuple[int, int], prep: Preprocessing) -> list[Box]:
    """Where the views of `cut` lie on the picture; tiles reach beyond it where there are bars.

    Args:
        size: (width, height) of the picture in pixels.
        prep: the model's preprocessing, with pinpoints.
    """
    chosen = plan(size, prep)
    spans = []
    for axis in (0, 1):  # y, x
        scale = size[1 - axis] / chosen.fitted[axis]
        edges = range(chosen.grid[axis] + 1)
        spans.append([(edge * chosen.tile[axis] - chosen.start[axis]) * scale for edge in edges])
    ys, xs = spans
    rows, columns = chosen.grid
    tiles = [(xs[c], ys[r], xs[c + 1], ys[r + 1]) for r in range(rows) for c in range(columns)]
    return [(0.0, 0.0, float(size[0]), float(size[1])), *tiles]


def view_names(name: str, count: int) -> list[str]:
    """What the views of a picture are called.

    Example:
        >>> view_names("photo.jpg", 1), view_names("photo.jpg", 3)
        (['photo.jpg'], ['photo.jpg (whole)', 'photo.jpg (tile 1 of 2)', 'photo.jpg (tile 2 of 2)'])
    """
    if count == 1:
        return [name]
    return [f"{name} (whole)", *(f"{name} (tile {tile} of {count - 1})" for tile in range(1, count))]
