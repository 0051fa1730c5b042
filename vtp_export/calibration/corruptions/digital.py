"""What processing does. Pictures are (h, w, 3) float64 in [0, 1]."""

import io
from typing import Any

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter, map_coordinates

Array = np.ndarray[Any, np.dtype[Any]]


def brightness(x: Array, severity: int, generator: np.random.Generator) -> Array:
    """Every colour lighter, hue and saturation as they were."""
    value = x.max(axis=2, keepdims=True)
    lighter = np.clip(value + (0.1, 0.2, 0.3, 0.4, 0.5)[severity - 1], 0, 1)
    made: Array = np.where(value > 0, x * lighter / np.where(value > 0, value, 1), lighter)
    return made


def contrast(x: Array, severity: int, generator: np.random.Generator) -> Array:
    """Every channel nearer to its mean."""
    mean = x.mean(axis=(0, 1), keepdims=True)
    made: Array = (x - mean) * (0.4, 0.3, 0.2, 0.1, 0.05)[severity - 1] + mean
    return made


def elastic_transform(x: Array, severity: int, generator: np.random.Generator) -> Array:
    """Pulled about, smoothly."""
    h, w = x.shape[:2]
    strength = 250 * (0.05, 0.065, 0.085, 0.1, 0.12)[severity - 1]
    right, down = (
        strength
        * gaussian_filter(
            generator.uniform(-0.005 * h, 0.005 * h, (h, w)), (0.01 * h, 0.01 * w), mode="reflect", truncate=3
        )
        for _ in range(2)
    )
    places = np.arange(h)[:, None] + down, np.arange(w) + right
    channels = [map_coordinates(x[:, :, channel], places, order=1, mode="reflect") for channel in range(x.shape[2])]
    return np.stack(channels, axis=2)


def pixelate(x: Array, severity: int, generator: np.random.Generator) -> Array:
    """Small, and large again."""
    image, share = _image(x), (0.6, 0.5, 0.4, 0.3, 0.25)[severity - 1]
    small = max(int(image.width * share), 1), max(int(image.height * share), 1)
    few = image.resize(small, Image.Resampling.BOX).resize(image.size, Image.Resampling.NEAREST)
    return np.asarray(few) / 255


def jpeg_compression(x: Array, severity: int, generator: np.random.Generator) -> Array:
    """Saved with little room."""
    file = io.BytesIO()
    _image(x).save(file, "JPEG", quality=(25, 18, 15, 10, 7)[severity - 1])
    with Image.open(file) as image:
        return np.asarray(image.convert("RGB")) / 255


def _image(x: Array) -> Image.Image:
    return Image.fromarray(np.round(x * 255).astype(np.uint8))
