"""The picture of a report in docs/reports.md: a page of `check` in Debian's Chromium, at 1280 and at 390 pixels.

python -m bench.report PAGE.html FILE
"""

import base64
import io
import sys
from collections.abc import Iterable
from pathlib import Path

from PIL import Image

from tests.browser import browser
from vtp_export.reports.overlay import GAP, PAPER

HEIGHT = 1760
SHOWN = 1000
"""Of the picture, in pixels."""
WINDOWS = ((1280, False, "h1"), (390, True, ".case"))
"""CSS pixels across, whether colours are dark, and what is scrolled to."""


def main(arguments: Iterable[str]) -> None:
    """Write the picture."""
    page, out = map(Path, arguments)
    shots = []
    with browser() as window:
        for width, dark, seen in WINDOWS:
            window.open(page, width, HEIGHT, dark=dark)
            window.ask(f"document.querySelector('{seen}').scrollIntoView()")
            shot = window.command("Page.captureScreenshot", format="png")["data"]
            shots.append(Image.open(io.BytesIO(base64.b64decode(shot))).convert("RGB"))
    sizes = [(round(shot.width * SHOWN / HEIGHT), SHOWN) for shot in shots]
    sheet = Image.new("RGB", (sum(width for width, _ in sizes) + GAP, SHOWN), PAPER)
    x = 0
    for shot, size in zip(shots, sizes, strict=True):
        sheet.paste(shot.resize(size, Image.Resampling.LANCZOS), (x, 0))
        x += size[0] + GAP
    sheet.save(out, quality=72, optimize=True)
    print(f"{out}: {out.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main(sys.argv[1:])
