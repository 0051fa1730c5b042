"""A picture as several views: the whole of it, squashed to a square, and tiles of it at a higher resolution.

A canvas is chosen (`Preprocessing.pinpoints`), the picture fills it, and it is cut into tiles, row by row. How
(`Preprocessing.filling`), after transformers' image processors on Pillow:

- "fit", LLaVA-NeXT and LLaVA-OneVision: the canvas on which most of the picture's pixels are seen; the picture is
  fitted into it between black bars.
- "stretch", InternVL: the canvas whose shape is nearest to the picture's; the picture is stretched to it.
- "grow", SmolVLM and Idefics3: the picture's long edge is made `resize_longest` pixels, and it is stretched to the
  smallest canvas that holds it, of which the whole picture is squashed, too.

With the last two a canvas of one tile is one view. Views are in one order here, the whole picture first; language
models may read it last, see `runtime.packing`. NumPy and Pillow only.
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
    views: how many there are, the whole picture among them.
    """

    grid: tuple[int, int]
    tile: tuple[int, int]
    fitted: tuple[int, int]
    start: tuple[int, int]
    views: int


def plan(size: tuple[int, int], prep: Preprocessing) -> Plan:
    """Choose the canvas.

    Args:
        size: (width, height) of the picture in pixels, at least 1.
        prep: the model's preprocessing, with pinpoints.

    Example:
        >>> from vtp_export.runtime.pinpoints import NEXT_PINPOINTS, tiled
        >>> from vtp_export.runtime.usual import clip_preprocessing
        >>> plan((640, 480), tiled(clip_preprocessing(336), 336, NEXT_PINPOINTS))
        Plan(grid=(2, 2), tile=(336, 336), fitted=(504, 672), start=(84, 0), views=5)
    """
    width, height = size
    assert prep.resize_exact is not None  # the manifest says so where there are pinpoints
    tile = prep.resize_exact[0], prep.resize_exact[1]
    canvas = _canvas((height, width), prep)
    grid = canvas[0] // tile[0], canvas[1] // tile[1]
    views = view_count(canvas, prep)
    if prep.filling != "fit":
        return Plan(grid=grid, tile=tile, fitted=canvas, start=(0, 0), views=views)
    across, down = canvas[1] / width, canvas[0] / height
    if across < down:
        fitted = min(math.ceil(height * across), canvas[0]), canvas[1]
    else:
        fitted = canvas[0], min(math.ceil(width * down), canvas[1])
    start = (canvas[0] - fitted[0]) // 2, (canvas[1] - fitted[1]) // 2
    return Plan(grid=grid, tile=tile, fitted=fitted, start=start, views=views)


def view_count(canvas: tuple[int, int], prep: Preprocessing) -> int:
    """How many views are cut from a canvas (height, width)."""
    tiles = tile_count(canvas, prep)
    return tiles if tiles == 1 and prep.filling != "fit" else 1 + tiles


def tile_count(canvas: tuple[int, int], prep: Preprocessing) -> int:
    """How many tiles are cut from a canvas (height, width)."""
    assert prep.resize_exact is not None  # as in `plan`
    return math.prod(canvas) // math.prod(prep.resize_exact)


def most_tiles(prep: Preprocessing) -> int:
    """How many are cut from the largest canvas."""
    return max(tile_count(canvas, prep) for canvas in prep.pinpoints)


def _canvas(size: tuple[int, int], prep: Preprocessing) -> tuple[int, int]:
    """Which canvas a picture of (height, width) fills."""
    if prep.filling == "fit":
        return best_resolution(size, prep.pinpoints)
    if prep.filling == "stretch":
        return nearest_shape(size, prep.pinpoints)
    assert prep.resize_longest is not None and prep.resize_exact is not None  # the manifest says so
    if len(prep.pinpoints) == 1:  # as where pictures are not split
        return prep.pinpoints[0]
    return smallest_canvas(grown(size, prep.resize_longest), prep.resize_exact[0])


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


def nearest_shape(size: tuple[int, int], pinpoints: tuple[tuple[int, int], ...]) -> tuple[int, int]:
    """The canvas whose ratio of width to height is nearest; of equals the last of which the picture fills half.

    Args:
        size: (height, width) of the picture.
        pinpoints: canvases (height, width), of few tiles before those of many.
    """
    best, least = pinpoints[0], math.inf
    for canvas in pinpoints:
        apart = abs(size[1] / size[0] - canvas[1] / canvas[0])
        if apart < least or (apart == least and math.prod(size) > 0.5 * math.prod(canvas)):
            best, least = canvas, apart
    return best


def grown(size: tuple[int, int], longest: int) -> tuple[int, int]:
    """(height, width) of a picture whose long edge is so many pixels, the other edge even, as transformers rounds it.

    Example:
        >>> grown((336, 1000), 2048)
        (688, 2048)
    """
    (height, width), shape = size, size[1] / size[0]
    if width >= height:
        other = int(longest / shape)
        return max(other + other % 2, 1), longest
    other = int(longest * shape)
    return longest, max(other + other % 2, 1)


def smallest_canvas(size: tuple[int, int], edge: int) -> tuple[int, int]:
    """The smallest canvas of whole tiles that holds a picture, as transformers rounds it.

    Args:
        size: (height, width) of the picture.
        edge: of a tile.

    Example:
        >>> smallest_canvas((688, 2048), 512)
        (1024, 2048)
    """
    (height, width), shape = size, size[1] / size[0]
    if width >= height:
        long = math.ceil(width / edge) * edge
        return max(math.ceil(int(long / shape) / edge), 1) * edge, long
    long = math.ceil(height / edge) * edge
    return long, max(math.ceil(int(long * shape) / edge), 1) * edge


def cut(image: Image.Image, prep: Preprocessing) -> list[npt.NDArray[np.uint8]]:
    """The views of a picture, (h, w, 3) each: the whole, then tiles row by row.

    Args:
        image: in RGB.
        prep: the model's preprocessing, with pinpoints.
    """
    chosen, filter = plan(image.size, prep), Image.Resampling(prep.resample)
    (height, width), (top, left) = chosen.tile, chosen.start
    if prep.filling == "grow":
        assert prep.resize_longest is not None  # the manifest says so
        image = image.resize(grown(image.size[::-1], prep.resize_longest)[::-1], filter)
        image = image.resize(chosen.fitted[::-1], filter)
    views = [np.asarray(image.resize((width, height), filter))]
    if chosen.views == 1:
        return views
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
    tiles = [(xs[c], ys[r], xs[c + 1], ys[r + 1]) for r in range(rows) for c in range(columns)][: chosen.views - 1]
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
