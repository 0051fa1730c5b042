"""Pictures of what a pruner kept: the photo with the kept patches lit, and sheets of such pictures.

NumPy and Pillow only.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from vtp_export.errors import SpecError
from vtp_export.runtime.images import ImageLike, as_image, rgb_from_image
from vtp_export.runtime.preprocess import view_boxes
from vtp_export.runtime.resolution import stretching
from vtp_export.runtime.tiles import Box
from vtp_export.spec import Layout, Preprocessing

SMALLEST, LARGEST = 512, 1600  # of the long side, in pixels: neither a stamp nor a poster
EDGE = (255, 196, 61)
INK, PAPER = (33, 37, 41), (255, 255, 255)

CELL, GAP, TEXT = 320, 14, 16  # of a contact sheet, in pixels


def overlay(
    photo: ImageLike, kept: npt.NDArray[np.integer], layout: Layout, prep: Preprocessing, view: int = 0
) -> Image.Image:
    """Light the kept patches of one view of a photo; the others are dimmed, and what the view has not is darkest.

    Args:
        photo: the photo that was preprocessed.
        kept: `(k,)` candidate positions; -1 marks an empty slot.
        layout: how positions map to patches.
        prep: how the photo was preprocessed; says where the patches lie on it.
        view: which, in the order of `tiles.cut`.

    Returns:
        An RGB picture in the shape of the photo, its long side between 512 and 1600 pixels.

    Raises:
        SpecError: a position is not one of the candidates.
        ImageError: the photo cannot be used.

    Example:
        >>> from vtp_export.runtime.preprocess import clip_preprocessing
        >>> from vtp_export.spec import Candidates
        >>> layout = Layout(candidates=Candidates((2, 2)), image_size=(28, 28), patch=(14, 14), keep=1, slots=1)
        >>> overlay(Image.new("RGB", (64, 48)), np.array([3]), layout, clip_preprocessing(28)).size
        (512, 384)
    """
    photo = as_image(photo)
    return _lit(photo, [(kept, view_boxes(photo.size, stretching(prep))[view])], layout)


def overlay_of_views(
    photo: ImageLike, views: Sequence[npt.NDArray[np.integer]], layout: Layout, prep: Preprocessing
) -> Image.Image:
    """The same of all views: of a single one as `overlay`, of several the whole picture beside its tiles.

    Args:
        photo: as for `overlay`, as `layout` and `prep`.
        views: `(k,)` kept positions of each, in the order of `tiles.cut`.
        layout: of a view.
        prep: how the photo was preprocessed.

    Raises:
        SpecError, ImageError: as `overlay`.
    """
    photo = as_image(photo)
    pairs = list(zip(views, view_boxes(photo.size, stretching(prep)), strict=True))
    whole, tiles = _lit(photo, pairs[:1], layout), pairs[1:]
    if not tiles:
        return whole
    joined = _lit(photo, tiles, layout)
    _draw_tiles(joined, photo, [box for _, box in tiles])
    sheet = Image.new("RGB", (whole.width + GAP + joined.width, whole.height), PAPER)
    sheet.paste(whole, (0, 0))
    sheet.paste(joined, (whole.width + GAP, 0))
    return sheet


def _lit(photo: Image.Image, views: Sequence[tuple[npt.NDArray[np.integer], Box]], layout: Layout) -> Image.Image:
    """The photo with the kept patches of views that do not overlap.

    Args:
        photo: upright.
        views: kept positions, and where the view lies on the photo.
        layout: of a view.
    """
    scale = min(max(max(photo.size), SMALLEST), LARGEST) / max(photo.size)
    width, height = (max(1, round(length * scale)) for length in photo.size)
    canvas = rgb_from_image(photo).resize((width, height), Image.Resampling.LANCZOS)
    seen, lit = np.zeros((2, height, width), dtype=np.bool_)
    edges = []
    for kept, view in views:
        patches, box = _patch_mask(kept, layout), _covered(view, layout)
        column = _patch_of_pixel(width, photo.width, (box[0], box[2]), layout.candidates.grid[1])
        row = _patch_of_pixel(height, photo.height, (box[1], box[3]), layout.candidates.grid[0])
        here = (row >= 0)[:, None] & (column >= 0)[None, :]  # (h, w)
        seen |= here
        lit |= here & patches[row[:, None], column[None, :]]
        edges.append((patches, box))
    picture = Image.fromarray(_shade(np.asarray(canvas), seen, lit))
    across, down = width / photo.width, height / photo.height
    for patches, (left, top, right, bottom) in edges:
        _draw_edges(picture, patches, (left * across, top * down, right * across, bottom * down))
    return picture


def _draw_tiles(picture: Image.Image, photo: Image.Image, boxes: Sequence[Box]) -> None:
    """Outline tiles, in place."""
    draw, across, down = ImageDraw.Draw(picture), picture.width / photo.width, picture.height / photo.height
    for left, top, right, bottom in boxes:
        draw.rectangle((left * across, top * down, right * across - 1, bottom * down - 1), outline=PAPER)


def cells(photo: ImageLike, layout: Layout, prep: Preprocessing, size: tuple[int, int], view: int = 0) -> list[Box]:
    """Where each patch lies on an overlay: left, top, right and bottom, in raster order.

    Args:
        photo: as for `overlay`, as `layout` and `prep`.
        layout: how positions map to patches.
        prep: how the photo was preprocessed.
        size: of the overlay.
        view: as for `overlay`.
    """
    photo = as_image(photo)
    left, top, right, bottom = _covered(view_boxes(photo.size, prep)[view], layout)
    (rows, columns), (across, down) = layout.candidates.grid, (size[0] / photo.width, size[1] / photo.height)
    xs = (np.linspace(left, right, columns + 1) * across).tolist()
    ys = (np.linspace(top, bottom, rows + 1) * down).tolist()
    return [(xs[c], ys[r], xs[c + 1], ys[r + 1]) for r in range(rows) for c in range(columns)]


def contact_sheet(rows: Sequence[Sequence[tuple[str, Image.Image]]]) -> Image.Image:
    """Lay pictures out in a grid, each with its label below.

    Args:
        rows: for each row, (label, picture) from left to right; rows may differ in length.

    Returns:
        An RGB picture.

    Raises:
        SpecError: there is no picture at all.

    Example:
        >>> contact_sheet([[("photo", Image.new("RGB", (64, 48)))]]).width
        348
    """
    columns = max((len(row) for row in rows), default=0)
    if columns == 0:
        raise SpecError("a contact sheet of no pictures; at least one is needed")
    font = ImageFont.load_default(size=TEXT)
    shown = [[(label, _fitted(picture)) for label, picture in row] for row in rows if row]
    heights = [max(picture.height for _, picture in row) + TEXT + GAP for row in shown]
    size = (columns * (CELL + GAP) + GAP, sum(heights) + GAP * (len(shown) + 1))
    sheet = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(sheet)
    y = GAP
    for row, height in zip(shown, heights, strict=True):
        for position, (label, picture) in enumerate(row):
            x = GAP + position * (CELL + GAP)
            bottom = y + height - TEXT - GAP
            sheet.paste(picture, (x + (CELL - picture.width) // 2, bottom - picture.height))
            draw.text((x + CELL // 2, bottom + GAP // 2), _shortened(label, font), INK, font, anchor="ma")
        y += height + GAP
    return sheet


def _patch_mask(kept: npt.NDArray[np.integer], layout: Layout) -> npt.NDArray[np.bool_]:
    """Which patches were kept: `(rows, columns)`."""
    rows, columns = layout.candidates.grid
    positions = np.asarray(kept).reshape(-1)
    first = int(layout.candidates.cls)
    wrong = positions[(positions < -1) | (positions >= rows * columns + first)]
    if wrong.size:
        raise SpecError(f"the kept position {wrong[0]} is not among this layout's {rows * columns + first} candidates")
    mask = np.zeros(rows * columns, dtype=np.bool_)
    mask[positions[positions >= first] - first] = True
    return mask.reshape(rows, columns)


def _covered(box: Box, layout: Layout) -> Box:
    """The part of the view that the grid covers: pixels beyond it, at the right and at the bottom, are not read."""
    left, top, right, bottom = box
    down, across = (
        cells * edge / pixels
        for cells, edge, pixels in zip(layout.candidates.grid, layout.patch, layout.image_size, strict=True)
    )
    return left, top, left + (right - left) * across, top + (bottom - top) * down


def _patch_of_pixel(pixels: int, original: int, span: tuple[float, float], patches: int) -> npt.NDArray[np.intp]:
    """For each pixel along one axis, the row or column of patches that it lies in; -1 where none is.

    Args:
        pixels: length of the axis in the picture.
        original: its length in the photo.
        span: what the model saw, in pixels of the photo.
        patches: rows or columns of the grid.
    """
    centre = (np.arange(pixels) + 0.5) * original / pixels
    position = np.floor((centre - span[0]) / (span[1] - span[0]) * patches).astype(np.intp)
    return np.where((position >= 0) & (position < patches), position, -1)


def _shade(
    pixels: npt.NDArray[np.uint8], seen: npt.NDArray[np.bool_], lit: npt.NDArray[np.bool_]
) -> npt.NDArray[np.uint8]:
    """Dim and desaturate what is not lit: `(h, w, 3)`."""
    colour = pixels.astype(np.float32)
    grey = colour @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    pale = 0.2 * colour + 0.8 * grey[:, :, None]
    # A hint of blue keeps the grid of a black photo readable.
    dropped = 0.34 * pale + np.array([10, 13, 20], dtype=np.float32)
    unseen = 0.12 * pale + np.array([4, 5, 8], dtype=np.float32)
    shaded = np.where(lit[:, :, None], colour, np.where(seen[:, :, None], dropped, unseen))
    return np.clip(np.rint(shaded), 0, 255).astype(np.uint8)


def _draw_edges(picture: Image.Image, lit: npt.NDArray[np.bool_], box: Box) -> None:
    """Outline the kept regions, in place."""
    draw = ImageDraw.Draw(picture)
    rows, columns = lit.shape
    xs = np.rint(np.linspace(box[0], box[2], columns + 1)).astype(int).tolist()
    ys = np.rint(np.linspace(box[1], box[3], rows + 1)).astype(int).tolist()
    thick = max(1, round(max(picture.size) / 640))
    around = np.pad(lit, 1)
    for row, column in np.argwhere(lit).tolist():
        left, right = xs[column], xs[column + 1] - 1
        top, bottom = ys[row], ys[row + 1] - 1
        if right < left or bottom < top:
            continue  # patches thinner than a pixel
        if not around[row, column + 1]:
            draw.rectangle((left, top, right, min(bottom, top + thick - 1)), EDGE)
        if not around[row + 2, column + 1]:
            draw.rectangle((left, max(top, bottom - thick + 1), right, bottom), EDGE)
        if not around[row + 1, column]:
            draw.rectangle((left, top, min(right, left + thick - 1), bottom), EDGE)
        if not around[row + 1, column + 2]:
            draw.rectangle((max(left, right - thick + 1), top, right, bottom), EDGE)


def _fitted(picture: Image.Image) -> Image.Image:
    """As large as a cell allows, shape kept."""
    scale = CELL / max(picture.size)
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    return rgb_from_image(picture).resize(size, Image.Resampling.LANCZOS)


def _shortened(label: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont) -> str:
    """The label on one line, cut at the cell's width."""
    line = " ".join(label.split())
    if font.getlength(line) <= CELL:
        return line
    while line and font.getlength(line + "...") > CELL:
        line = line[:-1]
    return line + "..."
