"""The rows of a data set as it is published: Parquet, JSON lines or a JSON list in a folder, or from the hub.

One row is in memory at a time, and its picture only while somebody looks at it. What cannot be read of a row is told
with the row; what cannot be read of a file is an error.
"""

import importlib
import importlib.util
import io
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import PIL.Image

from vtp_export.errors import ImageError, SpecError, UnavailableError
from vtp_export.extras import install
from vtp_export.json_records import parse_json, read_json
from vtp_export.runtime.images import as_image, read_image

IMAGE = "image"
"""The column of the pictures, in all of them."""

ENDINGS = (".parquet", ".jsonl", ".json")
MAX_BYTES = 1 << 28
"""Of a JSON list, which is read whole; JSON lines and Parquet may have any size."""


@dataclass(frozen=True)
class Row:
    """One row: where it stands, its cells but for the picture, what decodes the picture, and why it is unreadable."""

    where: str
    cells: Mapping[str, Any]
    open: Callable[[], PIL.Image.Image]
    fault: str | None = None


def files_of(folder: Path, split: str, config: str | None) -> list[Path]:
    """The files of one split, at any depth: `SPLIT.jsonl`, `SPLIT-00000-of-00002.parquet`, sorted.

    Args:
        folder: where the data set is.
        split: what the names of its files begin with.
        config: a folder that they must be in, at any depth; None for any.
    """
    paths = (path for path in folder.rglob(f"{split}*") if path.suffix in ENDINGS and path.is_file())
    named = (path for path in paths if path.name.removeprefix(split)[:1] in ("-", "."))
    return sorted(path for path in named if config is None or config in path.relative_to(folder).parts[:-1])


def file_rows(path: Path, columns: Sequence[str]) -> Iterator[Row]:
    """The rows of one file.

    Raises:
        SpecError: the file cannot be read.
        UnavailableError: it is Parquet, and pyarrow is not installed.
    """
    return _parquet_rows(path, columns) if path.suffix == ".parquet" else _json_rows(path)


def hub_rows(hub: str, config: str | None, split: str, revision: str | None) -> Iterator[Row]:
    """The rows of a data set of the hub, or of its cache, by the library `datasets`.

    Raises:
        UnavailableError: it cannot be fetched.
    """
    datasets = importlib.import_module("datasets")
    try:
        data = datasets.load_dataset(hub, config, split=split, revision=revision)
        if IMAGE in data.column_names:
            data = data.cast_column(IMAGE, datasets.Image(decode=False))
        texts = data.remove_columns([name for name in data.column_names if name == IMAGE])
    except Exception as error:  # no network, no such split, a full disk: its own kinds of error are many
        raise UnavailableError(f"'{hub}' cannot be fetched: {' '.join(str(error).split())}") from error
    for number, cells in enumerate(texts):
        where = f"row {number} of '{hub}'"
        yield Row(where, cells, partial(_hub_image, data, number, where))


def can_fetch() -> bool:
    """Whether the library is there that fetches data sets."""
    return importlib.util.find_spec("datasets") is not None


def _hub_image(data: Any, number: int, where: str) -> PIL.Image.Image:
    return decoded(data[number].get(IMAGE), Path(), where)


def _json_rows(path: Path) -> Iterator[Row]:
    if path.suffix == ".json":
        entries = read_json(path, f"'{path}'", MAX_BYTES)
        if not isinstance(entries, list):
            raise SpecError(f"'{path}' must hold a list of rows; or name it .jsonl, with a row a line")
        for number, entry in enumerate(entries):
            yield _json_row(entry, path, f"row {number} of '{path}'")
        return
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                where = f"line {number} of '{path}'"
                try:
                    if line.strip():
                        yield _json_row(parse_json(line.decode("utf-8-sig"), where), path, where)
                except (SpecError, UnicodeDecodeError) as error:
                    yield Row(where, {}, partial(decoded, None, path.parent, where), str(error))
    except OSError as error:
        raise SpecError(f"'{path}' cannot be read: {error.strerror or error}") from error


def _json_row(entry: Any, path: Path, where: str) -> Row:
    if not isinstance(entry, dict):
        return Row(where, {}, partial(decoded, None, path.parent, where), f"{where} is no object")
    return Row(where, entry, partial(decoded, entry.pop(IMAGE, None), path.parent, where))


def _parquet_rows(path: Path, columns: Sequence[str]) -> Iterator[Row]:
    with parquet(path) as file:
        present = [name for name in columns if name in file.schema_arrow.names]
        for group in range(file.num_row_groups):
            for number, cells in enumerate(file.read_row_group(group, columns=present).to_pylist()):
                where = f"row {number} of group {group} of '{path}'"
                yield Row(where, cells, partial(_parquet_image, path, group, number, where))


@contextmanager
def parquet(path: Path) -> Iterator[Any]:
    """A Parquet file, as pyarrow opens it; what it complains of inside the block is one sentence.

    Raises:
        SpecError: it cannot be read.
        UnavailableError: pyarrow is not installed.
    """
    if importlib.util.find_spec("pyarrow") is None:
        raise UnavailableError(f"'{path}' is Parquet, which takes pyarrow: {install('benchmarks')}")
    arrow = importlib.import_module("pyarrow")
    try:
        with importlib.import_module("pyarrow.parquet").ParquetFile(path) as file:
            yield file
    except (OSError, arrow.ArrowException) as error:
        raise SpecError(f"'{path}' cannot be read: {' '.join(str(error).split())}") from error


def _parquet_image(path: Path, group: int, number: int, where: str) -> PIL.Image.Image:
    said = path.stat()
    column = _pictures(path, group, (said.st_mtime_ns, said.st_size))
    return decoded(None if column is None else column[number].as_py(), path.parent, where)


@lru_cache(maxsize=1)
def _pictures(path: Path, group: int, version: tuple[int, int]) -> Any:
    """The pictures of a row group, still encoded: rows are looked at in their order.

    Args:
        path: the file.
        group: which.
        version: another one where the file was written anew.
    """
    file = importlib.import_module("pyarrow.parquet").ParquetFile(path)
    if IMAGE not in file.schema_arrow.names:
        return None
    return file.read_row_group(group, columns=[IMAGE]).column(IMAGE)


def decoded(cell: Any, folder: Path, where: str) -> PIL.Image.Image:
    """The picture of a cell: a path, or the `bytes` and `path` of a picture as Parquet has them."""
    name = f"the image in {where}"
    content = cell.get("bytes") if isinstance(cell, dict) else None
    path = cell.get("path") if isinstance(cell, dict) else cell
    if isinstance(content, bytes):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                image = PIL.Image.open(io.BytesIO(content))
        except (OSError, ValueError, SyntaxError, PIL.Image.DecompressionBombError) as error:
            raise ImageError(f"{name} is not an image that Pillow can read") from error
        return as_image(image, name)
    if not isinstance(path, str) or not path:
        raise ImageError(f"{name} is missing; a path, or an object with path or bytes, was expected")
    return read_image(folder / path)
