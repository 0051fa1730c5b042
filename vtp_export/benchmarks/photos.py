"""Photographs that scikit-image and scikit-learn carry inside their wheels: no download, no network.

Neither library is imported: importing scikit-learn takes a second, and `skimage.data` would fetch more.
"""

import importlib.util
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from vtp_export.benchmarks import base
from vtp_export.errors import UnavailableError
from vtp_export.extras import install
from vtp_export.runtime.images import read_image

# Photographs of scenes and textures, some grey. Left out: drawings, masks, test charts, scanned text, the
# second half of the stereo pair. Some versions of the libraries carry fewer of them; those are skipped.
FOLDERS = {"skimage": ("data",), "sklearn": ("datasets", "images")}
FILES = {
    "skimage": (
        "astronaut.png",
        "brick.png",
        "camera.png",
        "cell.png",
        "chelsea.png",
        "clock_motion.png",
        "coffee.png",
        "coins.png",
        "grass.png",
        "gravel.png",
        "hubble_deep_field.jpg",
        "ihc.png",
        "moon.png",
        "motorcycle_left.png",
        "retina.jpg",
        "rocket.jpg",
    ),
    "sklearn": ("china.jpg", "flower.jpg"),
}


class Benchmark(base.Benchmark):
    """The photographs, by file name."""

    def examples(self, limit: int | None) -> Iterator[base.Example]:
        """Yield the photographs, sorted by name.

        Args:
            limit: stop after so many, at least 1; None yields all.

        Raises:
            SpecError: the limit is below 1.
            UnavailableError: neither library is installed.

        Example:
            >>> [example.name for example in Benchmark().examples(2)]
            ['astronaut', 'brick']
        """
        if reason := self.missing():
            raise UnavailableError(reason)
        for path in base.limited(_paths(), limit):
            yield base.Example(path.stem, partial(read_image, path))

    def missing(self) -> str | None:
        """Why there are no photographs here, or None."""
        if _paths():
            return None
        return f"the photos come with scikit-image and scikit-learn, and neither is installed: {install('data')}"


def _paths() -> list[Path]:
    """The files that are there, sorted by name."""
    found = []
    for package, names in FILES.items():
        spec = importlib.util.find_spec(package)
        for root in (spec.submodule_search_locations or []) if spec else []:
            folder = Path(root).joinpath(*FOLDERS[package])
            found += [folder / name for name in names if (folder / name).is_file()]
    return sorted(found, key=lambda path: path.name)
