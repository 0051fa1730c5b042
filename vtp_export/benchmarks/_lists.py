"""Pictures that a JSON list names, as LLaVA's training data do: `[{"id": ..., "image": "coco/a.jpg", ...}, ...]`.

Such a list has a gigabyte: it is read an entry at a time, and the names of its pictures are kept.
"""

import json
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from vtp_export.benchmarks.base import Example
from vtp_export.errors import SpecError, first_line
from vtp_export.json_records import as_unicode
from vtp_export.runtime.images import read_image

CHUNK = 1 << 20
LARGEST = 1 << 26
"""Characters of one entry."""


class NamedPictures:
    """Each picture once, in the order in which it is first named; entries without one are passed over.

    Args:
        path: of the list.
        folder: that the names are relative to.

    Raises:
        SpecError: it cannot be read, or names no picture.
    """

    def __init__(self, path: Path, folder: Path) -> None:
        """See the class."""
        self.folder = folder
        names: dict[str, None] = {}
        for number, entry in enumerate(entries(path)):
            where = f"entry {number} of '{path}'"
            if not isinstance(entry, dict):
                raise SpecError(f"{where} is no object; a list of objects with an 'image' was expected")
            named = entry.get("image")
            for name in named if isinstance(named, list) else () if named is None else (named,):
                if not isinstance(name, str) or not name or "\0" in name:
                    raise SpecError(f"{where}: 'image' must be the path of a picture")
                names[name] = None
        if not names:
            raise SpecError(f"'{path}' names no picture; entries have an 'image'")
        self._path, self._names = path, list(names)

    @property
    def paths(self) -> Iterator[Path]:
        """The list, and the pictures."""
        yield self._path
        yield from (self.folder / name for name in self._names)

    def __len__(self) -> int:
        """How many pictures."""
        return len(self._names)

    def at(self, positions: Iterable[int]) -> Iterator[Example]:
        """Those at ascending positions."""
        for position in positions:
            name = self._names[position]
            yield Example(as_unicode(name), partial(read_image, self.folder / name))


def entries(path: Path) -> Iterator[Any]:
    """The entries of a JSON list, one in memory at a time.

    Raises:
        SpecError: it cannot be read, or is no list.
    """
    try:
        with path.open(encoding="utf-8-sig") as file:
            window, before = _Window(file), "["
            while (mark := window.mark()) != "]" or before == "[":
                if mark != before:
                    wanted = "a list" if before == "[" else "a comma or the end of the list"
                    raise ValueError(f"{wanted} was expected, and {mark!r} is there" if mark else "it is cut short")
                window.place += 1
                if before == "[" and window.mark() == "]":
                    return
                yield window.value()
                before = ","
    except (OSError, ValueError, RecursionError) as error:
        raise SpecError(f"'{path}' cannot be read as a JSON list: {first_line(error)}") from error


class _Window:
    """The part of a text file that is being parsed."""

    def __init__(self, file: TextIO) -> None:
        self._file, self._text, self.place = file, "", 0
        self._decoder = json.JSONDecoder()

    def mark(self) -> str:
        """The next character that is no blank; empty at the end."""
        while True:
            while self.place < len(self._text):
                if self._text[self.place] not in " \t\r\n":
                    return self._text[self.place]
                self.place += 1
            if not self._more():
                return ""

    def value(self) -> Any:
        """The JSON value that begins here."""
        self.mark()
        while True:
            try:
                found, end = self._decoder.raw_decode(self._text, self.place)
            except ValueError:
                if len(self._text) - self.place > LARGEST or not self._more():
                    raise
                continue
            if end < len(self._text) or not self._more():  # else a number may go on
                self.place = end
                return found

    def _more(self) -> bool:
        chunk = self._file.read(CHUNK)
        self._text, self.place = self._text[self.place :] + chunk, 0
        return bool(chunk)
