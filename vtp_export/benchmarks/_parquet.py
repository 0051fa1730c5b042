"""Pictures in Parquet files, as data sets of the hub keep them: a column of bytes, or of structs of bytes and path."""

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from vtp_export.benchmarks._tables import IMAGE, decoded, parquet
from vtp_export.benchmarks.base import Example
from vtp_export.errors import SpecError
from vtp_export.json_records import as_unicode

USUAL = (IMAGE, "img", "picture", "jpg", "jpeg", "png", "webp")


class ParquetPictures:
    """The pictures of Parquet files, a row group of them in memory at a time, still encoded.

    Args:
        folder: names are relative to it.
        paths: of the files.

    Raises:
        SpecError: a file cannot be read, or has no column of pictures.
        UnavailableError: pyarrow is not installed.
    """

    def __init__(self, folder: Path, paths: Sequence[Path]) -> None:
        """See the class."""
        self.folder, self.paths = folder, list(paths)
        self._groups: list[tuple[Path, int, str]] = []
        self._firsts, self._count = array("q"), 0
        for path in self.paths:
            with parquet(path) as file:
                column = _column(file.schema_arrow, path)
                for group in range(file.num_row_groups):
                    self._groups.append((path, group, column))
                    self._firsts.append(self._count)
                    self._count += file.metadata.row_group(group).num_rows
        if not self._count:
            raise SpecError(f"there is no row in {', '.join(map(repr, map(str, self.paths[:3])))}")

    def __len__(self) -> int:
        """How many rows."""
        return self._count

    def at(self, positions: Iterable[int]) -> Iterator[Example]:
        """Those at ascending positions; one without a picture is told of when it is opened."""
        held, cells = -1, None
        for position in positions:
            place = bisect_right(self._firsts, position) - 1
            path, group, column = self._groups[place]
            if place != held:
                held, cells = place, _cells(path, group, column)
            row = position - self._firsts[place]
            name = as_unicode(f"{path.relative_to(self.folder).as_posix()}/{group}.{row}")
            yield Example(name, partial(decoded, _plain(cells[row].as_py()), path.parent, f"'{name}'"))  # type: ignore[index]


def _cells(path: Path, group: int, column: str) -> Any:
    with parquet(path) as file:
        return file.read_row_group(group, columns=[column]).column(column)


def _plain(cell: Any) -> Any:
    return {"bytes": cell} if isinstance(cell, bytes) else cell


def _column(schema: Any, path: Path) -> str:
    """Which column holds the pictures: one of the usual names, else the first of such structs."""
    structs = [field.name for field in schema if str(field.type).startswith("struct<bytes: binary")]
    for name in (*(name for name in USUAL if name in schema.names), *structs):
        return str(name)
    raise SpecError(
        f"'{path}' has no column of pictures; one named {', '.join(USUAL)}, or a struct of bytes and path, was "
        f"expected, and the columns are {', '.join(schema.names)}"
    )
