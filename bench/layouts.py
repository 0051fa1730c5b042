"""How models lay a photograph of 1280 x 720 pixels out: tokens, windows, tiles. Geometry alone, no weights.

python -m bench.layouts FILE
"""

import sys
from collections.abc import Iterable
from pathlib import Path

from PIL import Image, ImageDraw, ImageFilter

from bench.tiles import MODELS
from vtp_export.benchmarks._lookup import benchmark_of
from vtp_export.models import qwen2_5_vl, qwen3_vl
from vtp_export.reports.overlay import EDGE, INK, PAPER, contact_sheet
from vtp_export.runtime.preprocess import view_boxes
from vtp_export.runtime.resolution import resolution_from_config, sized
from vtp_export.runtime.tiles import plan

SIZE = (1280, 720)
DRAWN = (960, 540)
"""Of a panel, before the sheet makes it small."""
FINE = (190, 196, 204)
"""Lines between tokens; what has more of them together is gold."""
TILED = {"internvl": ("internvl", 448), "smolvlm (256M, 500M)": ("smolvlm, 256M and 500M", 512)}
TILED["idefics3 (8B)"] = ("idefics3, 8B", 364)
"""Of `bench.tiles`: what a panel calls a model, and the edge of its views."""


def photograph() -> Image.Image:
    """A wide part of one of the photographs, dark and blurred, so that lines are seen and the file stays small."""
    example = next(example for example in benchmark_of("photos").examples(None) if example.name == "china")
    whole = example.open().convert("RGB")
    height = whole.width * 9 // 16
    cropped = whole.crop((0, whole.height - height, whole.width, whole.height)).resize(DRAWN)
    return Image.blend(cropped.filter(ImageFilter.GaussianBlur(5)), Image.new("RGB", DRAWN, INK), 0.5)


def lined(picture: Image.Image, cells: tuple[float, float], width: int, colour: tuple[int, int, int]) -> None:
    """Draw the lines between rows and columns of cells, in place; the last of them may be cut off."""
    draw = ImageDraw.Draw(picture)
    rows, columns = cells
    for row in range(1, int(rows) + 1):
        draw.line((0, row * picture.height / rows, picture.width, row * picture.height / rows), colour, width)
    for column in range(1, int(columns) + 1):
        draw.line(
            (column * picture.width / columns, 0, column * picture.width / columns, picture.height), colour, width
        )


def of_any_shape(name: str, processor: dict[str, object], window: int | None) -> tuple[str, Image.Image]:
    """A panel of a model that gives a picture its own grid; `window` in tokens."""
    rule = resolution_from_config(processor)
    height, width = sized(SIZE, rule)
    rows, columns = height // rule.token, width // rule.token
    picture = photograph()
    lined(picture, (rows, columns), 1, FINE)
    if window:
        lined(picture, (rows / window, columns / window), 4, EDGE)
    return f"{name}: {rows} x {columns} tokens", picture


def of_a_window(window: int) -> tuple[str, Image.Image]:
    """A panel of one window, enlarged: its tokens, of 2 x 2 patches each."""
    edge = DRAWN[1] // 4
    picture = photograph().crop((2 * edge, edge, 3 * edge, 2 * edge)).resize((DRAWN[1], DRAWN[1]))
    lined(picture, (2 * window, 2 * window), 1, FINE)
    lined(picture, (window, window), 4, EDGE)
    wide = Image.new("RGB", DRAWN, PAPER)
    wide.paste(picture, ((DRAWN[0] - DRAWN[1]) // 2, 0))
    return f"a window: {window} x {window} tokens of 2 x 2 patches", wide


def of_tiles(kind: str) -> tuple[str, Image.Image]:
    """A panel of a model that sees tiles: their tokens, and gold where one ends."""
    (name, _), (prep, side) = TILED[kind], MODELS[kind]
    rows, columns = plan(SIZE, prep).grid
    assert len(view_boxes(SIZE, prep)) == rows * columns + 1  # and the whole picture
    picture = photograph()
    lined(picture, (rows * side, columns * side), 1, FINE)
    lined(picture, (rows, columns), 4, EDGE)
    return f"{name}: {rows} x {columns} tiles of {side} x {side}", picture


def main(arguments: Iterable[str]) -> None:
    """Write the picture."""
    (out,) = arguments
    window = qwen2_5_vl.config_of({}).window
    assert window is not None
    panels = [
        of_any_shape("qwen2_5_vl", qwen2_5_vl.PROCESSOR, window),
        of_a_window(window),
        of_any_shape("qwen3_vl, qwen3_5", qwen3_vl.PROCESSOR, None),
        *map(of_tiles, TILED),
    ]
    contact_sheet([panels[:3], panels[3:]]).save(Path(out), quality=32, optimize=True)
    for label, _ in panels:
        print(label)


if __name__ == "__main__":
    main(sys.argv[1:])
