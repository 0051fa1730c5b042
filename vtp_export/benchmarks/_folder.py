"""A folder of the user's own pictures, as a data set."""

import os
from collections.abc import Iterator
from pathlib import Path

from vtp_export.benchmarks import base
from vtp_export.errors import SpecError
from vtp_export.runtime.images import read_image

EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"})


class Folder(base.Benchmark):
    """The images below a folder, at any depth, sorted by their path relative to it.

    Hidden files and folders are left out, and links to folders are not followed.

    Args:
        folder: the folder.

    Raises:
        SpecError: no such folder, or no image in it.
    """

    def __init__(self, folder: Path) -> None:
        """See the class."""
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise SpecError(f"no folder '{self.folder}'; name a folder of images")
        self.paths = _images_below(self.folder)
        if not self.paths:
            endings = ", ".join(sorted(EXTENSIONS))
            raise SpecError(f"no images below '{self.folder}'; expected files ending in {endings}")

    def examples(self, limit: int | None) -> Iterator[base.Example]:
        """Yield the images; the name is the path relative to the folder.

        Args:
            limit: stop after so many, at least 1; None yields all.

        Raises:
            SpecError: the limit is below 1.
            ImageError: an image cannot be read; the message names the file.
        """
        for path in base.limited(self.paths, limit):
            yield base.Example(path.relative_to(self.folder).as_posix(), read_image(path))

    def missing(self) -> str | None:
        """None: a folder needs no library."""
        return None


def _images_below(folder: Path) -> list[Path]:
    found = []
    for root, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(root, name) for name in names if not name.startswith(".")]
    images = [path for path in found if path.suffix.lower() in EXTENSIONS and path.is_file()]
    return sorted(images, key=lambda path: path.relative_to(folder).as_posix())
