"""A folder of the user's own pictures, as a data set."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from vtp_export.benchmarks import base
from vtp_export.errors import SpecError
from vtp_export.json_records import as_unicode
from vtp_export.runtime.images import images_below, read_image


class Folder(base.Benchmark):
    """The images below a folder, see `images_below`.

    Args:
        folder: the folder.

    Raises:
        SpecError: no such folder.
        ImageError: no image in it, or it cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        """See the class."""
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise SpecError(f"no folder '{self.folder}'; name a folder of images")
        self.paths = images_below(self.folder)

    def examples(self, limit: int | None) -> Iterator[base.Example]:
        """Yield the images; the name is the path relative to the folder.

        Args:
            limit: stop after so many, at least 1; None yields all.

        Raises:
            SpecError: the limit is below 1.
        """
        for path in base.limited(self.paths, limit):
            yield self.example(path)

    def example(self, path: Path) -> base.Example:
        """One of the images."""
        return base.Example(as_unicode(path.relative_to(self.folder).as_posix()), partial(read_image, path))

    def missing(self) -> str | None:
        """None: a folder needs no library."""
        return None
