"""Views and tokens of pictures of common sizes in models that see a picture in tiles, from the sizes alone.

python -m bench.tiles [KEEP]        KEEP tokens a view; default 128
"""

import math
import sys

from vtp_export.runtime.packing import SHRUNK_ABOVE, unpadded
from vtp_export.runtime.pinpoints import NEXT_PINPOINTS, ONEVISION_PINPOINTS, tiled
from vtp_export.runtime.processor_config import clip_preprocessing
from vtp_export.runtime.tiles import plan
from vtp_export.spec import Preprocessing

SIZES = ((336, 336), (640, 480), (1000, 1000), (1920, 1080), (1080, 1920), (4000, 3000))
SIDES = {"llava_next": 24, "llava_onevision": 27}
NINE = tuple(canvas for canvas in ONEVISION_PINPOINTS if math.prod(canvas) <= 9 * 384**2)
MODELS = {
    "llava_next": (336, NEXT_PINPOINTS),
    "llava_onevision": (384, ONEVISION_PINPOINTS),
    "llava_onevision, tiles=9": (384, NINE),
}
"""Edge of a view in pixels, and the canvases of the released models."""


def tokens(size: tuple[int, int], prep: Preprocessing, side: int) -> tuple[int, int]:
    """Of an unpruned picture, newline vectors among them; and rows of it."""
    grid = plan(size, prep).grid
    rows, columns = unpadded((grid[0] * side, grid[1] * side), size)
    return side**2 + len(rows) * (len(columns) + 1), len(rows)


def main() -> None:
    """Print Markdown."""
    keep = int(sys.argv[1]) if len(sys.argv) > 1 else 128
    print(f"| picture | model | views | unpruned | {keep} a view, at most |\n|---|---|---|---|---|")
    for size in SIZES:
        for name, (edge, pinpoints) in MODELS.items():
            prep, side = tiled(clip_preprocessing(edge), edge, pinpoints), SIDES[name.split(",")[0]]
            views = 1 + plan(size, prep).tiles
            whole, rows = tokens(size, prep, side)
            shrunk = name == "llava_onevision" and math.sqrt((whole - side**2 - rows) / (9 * side**2)) > SHRUNK_ABOVE
            most = "refused" if shrunk else str(views * keep + rows)
            unpruned = "shrunk" if shrunk else str(whole)
            print(f"| {size[0]} x {size[1]} | {name} | {views} | {unpruned} | {most} |")


if __name__ == "__main__":
    main()
