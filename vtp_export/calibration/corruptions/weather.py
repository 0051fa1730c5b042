"""Weather. Pictures are (h, w, 3) float64 in [0, 1]."""

from typing import Any

import numpy as np
from PIL import Image

from vtp_export.calibration.corruptions.blurs import enlarged, streaked

Array = np.ndarray[Any, np.dtype[Any]]
LUMA = np.array([0.299, 0.587, 0.114])


def snow(x: Array, severity: int, generator: np.random.Generator) -> Array:
    """Flakes that fall aslant, twice, the second time turned round, on a picture that is whitened."""
    mean, spread, factor, least, radius, sigma, share = (
        (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
        (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
        (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
        (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
        (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
    )[severity - 1]
    flakes = enlarged(generator.normal(mean, spread, (*x.shape[:2], 1)), factor)
    flakes = np.clip(np.where(flakes < least, 0, flakes), 0, 1)
    flakes = np.round(streaked(flakes, radius, sigma, generator.uniform(-135, -45)) * 255) / 255
    white = share * x + (1 - share) * np.maximum(x, (x @ LUMA)[:, :, None] * 1.5 + 0.5)
    made: Array = white + flakes + np.rot90(flakes, 2)
    return made


def frost(x: Array, severity: int, generator: np.random.Generator, picture: Image.Image) -> Array:
    """A picture of frost laid over it: a part of it, at a random place.

    Args:
        x: the picture.
        severity: 1 to 5.
        generator: chooses the part.
        picture: of frost.
    """
    of_picture, of_frost = ((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75))[severity - 1]
    h, w = x.shape[:2]
    scale = 1.1 * max(1.0, h / picture.height, w / picture.width)
    size = int(np.ceil(picture.width * scale)), int(np.ceil(picture.height * scale))
    ice = np.asarray(picture.convert("RGB").resize(size, Image.Resampling.BICUBIC)) / 255
    top, left = (int(generator.integers(0, max(a - b, 1))) for a, b in zip(ice.shape, (h, w), strict=False))
    return of_picture * x + of_frost * ice[top : top + h, left : left + w]


def fog(x: Array, severity: int, generator: np.random.Generator) -> Array:
    """A cloud over it, made darker again as far as it was made lighter at most."""
    thickness, decay = ((1.5, 2), (2.0, 2), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4))[severity - 1]
    h, w = x.shape[:2]
    lightest = x.max()
    cloud = plasma(1 << (max(h, w) - 1).bit_length(), decay, generator)[:h, :w, None]
    made: Array = (x + thickness * cloud) * lightest / (lightest + thickness)
    return made


def plasma(edge: int, decay: float, generator: np.random.Generator) -> Array:
    """A cloud, (edge, edge) from 0 to 1, by the diamond-square method on a torus.

    Args:
        edge: a power of two.
        decay: by how much bumps get smaller as they get narrower; their height goes by its square.
        generator: what it is drawn with.
    """
    field, step, bump = np.zeros((edge, edge)), edge, 100.0

    def around(total: Array) -> Array:
        return total / 4 + bump**2 * generator.uniform(-1, 1, total.shape)

    while step >= 2:
        half = step // 2
        corner = field[::step, ::step]
        pairs = corner + np.roll(corner, -1, 0)
        centre = around(pairs + np.roll(pairs, -1, 1))
        field[half::step, half::step] = centre
        field[::step, half::step] = around(corner + np.roll(corner, -1, 1) + centre + np.roll(centre, 1, 0))
        field[half::step, ::step] = around(pairs + centre + np.roll(centre, 1, 1))
        step, bump = half, bump / decay
    field -= field.min()
    cloud: Array = field / max(field.max(), np.finfo(float).tiny)
    return cloud
