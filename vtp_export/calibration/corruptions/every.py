"""All corruptions by name, and a picture's share of them."""

import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from vtp_export.arguments import path_of, whole
from vtp_export.errors import SpecError, UnavailableError
from vtp_export.extras import install
from vtp_export.runtime.images import images_below, note, read_image, rgb_from_image

FROST = "frost"
KINDS = {
    "gaussian_noise": "noise",
    "shot_noise": "noise",
    "impulse_noise": "noise",
    "defocus_blur": "blurs",
    "glass_blur": "blurs",
    "motion_blur": "blurs",
    "zoom_blur": "blurs",
    "snow": "weather",
    FROST: "weather",
    "fog": "weather",
    "brightness": "digital",
    "contrast": "digital",
    "elastic_transform": "digital",
    "pixelate": "digital",
    "jpeg_compression": "digital",
}
"""The file that each is in, in the order of the paper of Hendrycks & Dietterich."""

GLOBAL = ("zoom_blur", FROST, "snow", "elastic_transform")
"""Those that AgilePruner's Appendix E counts among changes of the whole picture."""

LOCAL = ("brightness", "pixelate", "jpeg_compression")
"""Those that it counts among changes of pixels."""


@dataclass(frozen=True)
class Corrupting:
    """Every picture in several corrupted forms; see `decoding.Change`.

    Each form has a generator of its own, of the picture's place in the data set: whoever makes it makes the same.

    cases: (kind, severity) each. frost: pictures of frost, where that is among them.
    """

    cases: tuple[tuple[str, int], ...]
    frost: tuple[Path, ...] = ()

    def __call__(self, image: Image.Image, position: int) -> Iterator[Image.Image]:
        """The picture as it is, before the model's preprocessing, in the order of the cases."""
        rgb = rgb_from_image(image)
        for kind, severity in self.cases:
            generator = np.random.default_rng([position, list(KINDS).index(kind), severity])
            yield corrupted(rgb, kind, severity, generator, self.frost)


def corrupted(
    image: Image.Image, kind: str, severity: int, generator: np.random.Generator, frost: Sequence[Path] = ()
) -> Image.Image:
    """One picture, corrupted.

    Args:
        image: in RGB, of any size.
        kind: one of `KINDS`.
        severity: 1 to 5.
        generator: of all that is drawn.
        frost: pictures of frost, of which one is drawn.
    """
    from vtp_export.calibration.corruptions import blurs, digital, noise, weather  # these import scipy

    x = np.asarray(image) / 255
    if kind == FROST:
        ice = read_image(frost[int(generator.integers(len(frost)))])
        made = weather.frost(x, severity, generator, ice)
    else:
        room = {"blurs": blurs, "digital": digital, "noise": noise, "weather": weather}[KINDS[kind]]
        made = getattr(room, kind)(x, severity, generator)
    return Image.fromarray((np.clip(made, 0, 1) * 255).astype(np.uint8))


def corrupting(severities: Sequence[int], frost: str | Path | None) -> Corrupting:
    """All kinds at some severities.

    Args:
        severities: of 1 to 5, at least one.
        frost: a folder of pictures of frost; without one that kind is left out, with a note.

    Raises:
        SpecError: a severity out of range, or there twice.
        ImageError: no picture in the folder.
        UnavailableError: scipy is not installed.
    """
    if importlib.util.find_spec("scipy") is None:
        raise UnavailableError(f"corruptions need scipy: {install('corruptions')}")
    chosen = [whole("severity", severity, 1, 5) for severity in severities]
    if not chosen or len(set(chosen)) < len(chosen):
        raise SpecError(f"severities are {', '.join(map(str, chosen)) or 'none'}; name some of 1 to 5, each once")
    ice = () if frost is None else tuple(images_below(path_of("the folder of frost", frost)))
    if not ice:
        note("frost is left out of the corruptions: name a folder of pictures of frost (--frost DIR)")
    kinds = [kind for kind in KINDS if kind != FROST or ice]
    return Corrupting(tuple((kind, severity) for severity in chosen for kind in kinds), ice)
