"""Pictures in tar files, as WebDataset writes them. Standard library and Pillow only.

The places of all pictures are looked up first, header by header; then each is read by itself, so that a run may begin
anywhere. A library that streams such files loses broken pictures in silence when it is told to go on.
"""

import tarfile
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path, PurePosixPath

import PIL.Image

from vtp_export.benchmarks._tables import decoded
from vtp_export.benchmarks.base import Example
from vtp_export.errors import ImageError, SpecError
from vtp_export.json_records import as_unicode
from vtp_export.runtime.images import image_endings


class Archives:
    """The pictures of tar files, in the order in which they stand there.

    Args:
        folder: names are relative to it.
        paths: of the files, not compressed.

    Raises:
        SpecError: a file cannot be read, or none holds a picture.
    """

    def __init__(self, folder: Path, paths: Sequence[Path]) -> None:
        """See the class."""
        self.paths = list(paths)
        self._names: list[str] = []
        self._starts, self._sizes, self._firsts = array("q"), array("q"), array("q")
        for path in self.paths:
            self._firsts.append(len(self._names))
            home = path.relative_to(folder).as_posix()
            for name, start, size in _members(path):
                self._names.append(as_unicode(f"{home}/{name}"))
                self._starts.append(start)
                self._sizes.append(size)
        if not self._names:
            raise SpecError(f"there is no picture in {', '.join(map(repr, map(str, self.paths[:3])))}")

    def __len__(self) -> int:
        """How many pictures."""
        return len(self._names)

    def at(self, positions: Iterable[int]) -> Iterator[Example]:
        """Those at ascending positions."""
        for position in positions:
            path = self.paths[bisect_right(self._firsts, position) - 1]
            name = self._names[position]
            yield Example(name, partial(_picture, path, self._starts[position], self._sizes[position], name))


def _members(path: Path) -> Iterator[tuple[str, int, int]]:
    """Name, first byte and length of each picture."""
    endings = image_endings()
    try:
        with tarfile.open(path, "r:") as file:
            while (member := file.next()) is not None:
                file.members.clear()  # type: ignore[attr-defined]  # it keeps all of them
                if member.isreg() and PurePosixPath(member.name).suffix.lower() in endings:
                    yield member.name, member.offset_data, member.size
    except (OSError, tarfile.TarError) as error:
        remedy = "; a compressed one cannot be read from the middle: unpack it" if path.suffix != ".tar" else ""
        raise SpecError(f"the tar file '{path}' cannot be read: {error}{remedy}") from error


def _picture(path: Path, start: int, size: int, name: str) -> PIL.Image.Image:
    try:
        with path.open("rb") as file:
            file.seek(start)
            content = file.read(size)
    except OSError as error:
        raise ImageError(f"'{name}' cannot be read: {error.strerror or error}") from error
    if len(content) < size:
        raise ImageError(f"'{name}' is cut short: {len(content)} of {size} bytes are there")
    return decoded({"bytes": content}, path.parent, name)
