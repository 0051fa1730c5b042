"""Pictures that are none: what Pillow writes, damaged. Decoders are C, so a process of its own looks at them.

`python -m tests.fuzz.pictures FIRST LAST FOLDER` reads the cases of these numbers; it needs no torch.
"""

import io
import random
import resource
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from tests.fuzz.hostile import damaged
from tests.fuzz.rule import outcome
from vtp_export.errors import ImageError
from vtp_export.reports.overlay import overlay
from vtp_export.runtime.preprocess import clip_preprocessing, pixel_values
from vtp_export.spec import Candidates, Layout

PREP = clip_preprocessing(28)
LAYOUT = Layout(candidates=Candidates((4, 4)), image_size=(28, 28), patch=(7, 7), keep=2, slots=2)
MODES = (
    "RGB",
    "RGBA",
    "L",
    "LA",
    "P",
    "1",
    "CMYK",
    "YCbCr",
    "I",
    "F",
    "I;16",
    "LAB",
    "HSV",
    "PA",
    "La",
    "RGBa",
    "RGBX",
)
SIZES = ((0, 0), (0, 9), (1, 1), (1, 3000), (3000, 1), (27, 29), (64, 48))
ROOM = 3 << 30
"""Bytes of address space beyond what a bare process has: Pillow's own bound is a third of it in RGBA."""

LARGEST = 1500
"""Megabytes that a file may take whose declared size is within Pillow's bound of 179 megapixels."""


def written():
    """A small picture in every kind of file that Pillow writes, in the modes that it takes: name to bytes."""
    Image.init()
    contents = {}
    noise = Image.effect_noise((40, 30), 90).convert("RGB")
    for kind in sorted(Image.SAVE):
        for mode in MODES:
            file = io.BytesIO()
            try:
                noise.convert(mode).save(file, kind)
            except Exception:  # it has no such mode, or writes with a program from elsewhere
                continue
            if file.getvalue() and (kind in Image.OPEN):
                contents[f"{kind} {mode}"] = file.getvalue()
    return contents


def look(picture):
    """What a model sees of it, and what is drawn."""
    pixels = pixel_values(picture, PREP)
    overlay(picture, np.array([0, 5, -1]), LAYOUT, PREP)
    return pixels


def judge(picture):
    pixels = outcome(look, picture, megabytes=LARGEST)
    if not isinstance(pixels, ImageError):
        assert pixels.shape == (1, 3, 28, 28) and pixels.dtype == np.float32 and np.isfinite(pixels).all()


def made_up(rng):
    """A Pillow image, or an array, as nobody would make it."""
    numbers = np.random.default_rng(rng.randrange(2**32))
    width, height = rng.choice(SIZES)
    if rng.random() < 0.5:
        return Image.new(rng.choice(MODES), (width, height), rng.choice((0, 1)))
    shape = rng.choice(((height, width, 3), (height, width), (3, height, width), (2, height, width, 3), (), (0,), (5,)))
    dtype = rng.choice(("u1", "i1", ">u2", "<f4", "f8", "f2", "c8", "?", "O", "S3", "M8[s]", "u8"))
    array = numbers.integers(0, 2, shape).astype(dtype)
    ways = (array, array[..., ::-1] if array.ndim else array, array.T, np.ma.masked_array(array))
    return rng.choice(ways)


def main(first, last, folder):
    resource.setrlimit(resource.RLIMIT_AS, (_size() + ROOM, resource.RLIM_INFINITY))
    kinds, path = sorted(written().items()), Path(folder) / "picture"
    assert len(kinds) > 30
    for number in range(first, last):
        rng = random.Random(number)
        name, content = kinds[number % len(kinds)]
        _say(f"{number} {name}")  # the last one that is told of is the one that ended the process
        path.write_bytes(damaged(content, rng))
        judge(path)
        judge(made_up(rng))
    _say("all")


def _say(line):
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _size():
    """Of the address space, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
