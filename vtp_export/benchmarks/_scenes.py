"""Scenes of coloured shapes, drawn by code from a seed: from one large object to a crowd of small ones.

NumPy draws everything but the photographic backgrounds, so that a seed gives the same pixels on every machine.
Backgrounds are grey or pale and objects are colourful: what is asked is never in doubt, how much there is varies.
"""

import functools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from vtp_export.benchmarks.photos import Benchmark as Photos

COLOURS = {
    "red": (215, 40, 40),
    "green": (40, 170, 60),
    "blue": (45, 80, 225),
    "yellow": (235, 210, 50),
    "purple": (160, 60, 200),
    "cyan": (60, 205, 215),
}
SHAPES = ("circle", "square", "triangle", "cross", "ring")

# How many objects, and how large in pixels of a 96-pixel scene: simple scenes have large objects.
CROWDS = (((1, 1), (26, 56)), ((2, 3), (18, 34)), ((4, 6), (14, 24)), ((7, 12), (11, 17)))
SIZE = 96
MARGIN = 2  # pixels between objects, and to the border
ATTEMPTS = 60  # at finding room for an object before it is left out
JITTER = 16  # of a colour, per channel

# Like the objects of photographs, some are common: POPE's popular setting asks for those that are not there.
COMMONNESS = 0.93

Pixels = npt.NDArray[np.floating]


@dataclass(frozen=True, kw_only=True)
class Thing:
    """One object: what it is, its centre (x, y) and its diameter in pixels."""

    colour: str
    shape: str
    x: float
    y: float
    size: float

    @property
    def name(self) -> str:
        """As people say it, for example "red circle"."""
        return f"{self.colour} {self.shape}"


@dataclass(frozen=True)
class Scene:
    """A picture, (size, size, 3) uint8, and the objects in it."""

    pixels: npt.NDArray[np.uint8]
    things: tuple[Thing, ...]


def kinds() -> list[str]:
    """Every kind of object, the most common first.

    Example:
        >>> len(kinds())
        30
    """
    pairs = [f"{colour} {shape}" for colour in COLOURS for shape in SHAPES]
    order = np.random.default_rng(5).permutation(len(pairs))
    return [pairs[i] for i in order]


def draw_scene(generator: np.random.Generator, photos: tuple[Pixels, ...], size: int = SIZE) -> Scene:
    """Draw a scene.

    Args:
        generator: all chance comes from it.
        photos: pictures to cut backgrounds from, see `background_photos`; none for textures only.
        size: edge in pixels. A smaller scene holds fewer objects of the same size, as a cut-out would.
    """
    things = _placed(generator, size)
    canvas = _background(generator, photos, size)
    for thing in things:
        _paint(canvas, thing, generator)
    canvas += generator.normal(0, generator.uniform(0, 7), canvas.shape).astype(np.float32)
    return Scene(np.clip(np.rint(canvas), 0, 255).astype(np.uint8), tuple(things))


def cover(thing: Thing, size: int) -> tuple[slice, slice, Pixels]:
    """Where an object is: rows, columns, and its share of each pixel there."""
    reach = thing.size / 2 + 1
    left, right = max(0, int(thing.x - reach)), min(size, int(thing.x + reach) + 1)
    top, bottom = max(0, int(thing.y - reach)), min(size, int(thing.y + reach) + 1)
    x = np.arange(left, right, dtype=np.float32)[None, :] + 0.5 - thing.x
    y = np.arange(top, bottom, dtype=np.float32)[:, None] + 0.5 - thing.y
    inside = _depth(thing.shape, x, y, thing.size / 2)
    return slice(top, bottom), slice(left, right), np.clip(inside + 0.5, 0, 1)


@functools.cache
def background_photos(held_out: bool) -> tuple[Pixels, ...]:
    """Photographs to cut backgrounds from: every third one is held out for testing.

    Returns:
        Pictures of (h, w, 3) in [0, 255], 192 pixels on the short edge.
    """
    found = []
    for i, example in enumerate(Photos().examples(None)):
        if (i % 3 == 0) == held_out:
            photo = example.open().convert("RGB")
            scale = 192 / min(photo.size)
            shrunk = photo.resize((round(photo.width * scale), round(photo.height * scale)), Image.Resampling.BOX)
            found.append(np.asarray(shrunk, dtype=np.float32))
    return tuple(found)


def _placed(generator: np.random.Generator, size: int) -> list[Thing]:
    """Objects that do not touch."""
    names = kinds()
    weights = COMMONNESS ** np.arange(len(names))
    counts, sizes = CROWDS[int(generator.integers(len(CROWDS)))]
    share = (size / SIZE) ** 2
    wanted = int(generator.integers(counts[0], counts[1] + 1))
    wanted = max(1, round(wanted * share)) if share < 1 else wanted
    things: list[Thing] = []
    for _ in range(wanted):
        colour, shape = names[int(generator.choice(len(names), p=weights / weights.sum()))].split()
        diameter = min(float(generator.uniform(*sizes)), size * 0.6)
        for _ in range(ATTEMPTS):
            low, high = diameter / 2 + MARGIN, size - diameter / 2 - MARGIN
            x, y = (float(v) for v in generator.uniform(low, high, 2))
            if all(_apart(thing, x, y, diameter) for thing in things):
                things.append(Thing(colour=colour, shape=shape, x=x, y=y, size=diameter))
                break
    return things


def _apart(thing: Thing, x: float, y: float, diameter: float) -> bool:
    return max(abs(thing.x - x), abs(thing.y - y)) > (thing.size + diameter) / 2 + MARGIN


def _depth(shape: str, x: Pixels, y: Pixels, r: float) -> Pixels:
    """How far inside the shape each pixel is, in pixels; negative outside. `r` is half the diameter."""
    depth: Pixels
    if shape == "circle":
        depth = r - np.hypot(x, y)
    elif shape == "square":
        depth = 0.9 * r - np.maximum(np.abs(x), np.abs(y))
    elif shape == "ring":
        depth = 0.24 * r - np.abs(np.hypot(x, y) - 0.76 * r)
    elif shape == "cross":
        arm = 0.3 * r
        across = np.minimum(arm - np.abs(x), r - np.abs(y))
        along = np.minimum(arm - np.abs(y), r - np.abs(x))
        depth = np.maximum(across, along)
    else:  # a triangle on its base
        depth = np.minimum(0.8 * r - y, (r + y) / 2 - np.float32(np.sqrt(3) / 2) * np.abs(x))
    return depth


def _paint(canvas: Pixels, thing: Thing, generator: np.random.Generator) -> None:
    rows, columns, alpha = cover(thing, canvas.shape[0])
    colour = np.array(COLOURS[thing.colour], dtype=np.float32)
    colour = colour + generator.uniform(-JITTER, JITTER, 3).astype(np.float32)
    grain = generator.normal(0, 5, (*alpha.shape, 1)).astype(np.float32)
    canvas[rows, columns] += alpha[:, :, None] * (colour + grain - canvas[rows, columns])


def _background(generator: np.random.Generator, photos: tuple[Pixels, ...], size: int) -> Pixels:
    """Plain, graded, striped, cloudy, or cut from a photograph: (size, size, 3)."""
    base = generator.uniform(60, 190) + generator.uniform(-10, 10, 3)
    pattern = int(generator.integers(5 if photos else 4))
    if pattern == 4:
        return _cut(generator, photos[int(generator.integers(len(photos)))], size)
    x, y = np.meshgrid(np.linspace(-1, 1, size), np.linspace(-1, 1, size))
    angle = generator.uniform(0, 2 * np.pi)
    along = np.cos(angle) * x + np.sin(angle) * y
    if pattern == 1:
        field = 35 * along
    elif pattern == 2:
        field = generator.uniform(8, 28) * np.sin(along * generator.uniform(6, 40))
    elif pattern == 3:
        coarse = generator.normal(0, 22, (7, 7)).astype(np.float32)
        field = np.asarray(Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC))
    else:
        field = np.zeros_like(x)
    canvas: Pixels = (base + field[:, :, None]).astype(np.float32)
    return canvas


def _cut(generator: np.random.Generator, photo: Pixels, size: int) -> Pixels:
    """A piece of a photograph, paled so that no part of it passes for an object."""
    top, left = (int(generator.integers(edge - size + 1)) for edge in photo.shape[:2])
    piece = photo[top : top + size, left : left + size]
    grey = piece.mean(-1, keepdims=True)
    pale: Pixels = (grey + 0.25 * (piece - grey) - 128) * 0.6 + np.float32(generator.uniform(90, 160))
    return pale
