"""The numbers of every view of a data set, as columns: what records are computed from, and what shards are joined by.

They are kept and not summed up: six numbers a view are 48 bytes, so that quantiles are exact, and joining the work of
several machines is joining lists and sorting them by where the pictures stand: associative, and equal to the last bit.
"""

import hashlib
import io
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vtp_export.calibrations import Broken
from vtp_export.errors import SpecError, first_line

Array = np.ndarray[Any, np.dtype[Any]]

FIXED = ("position", "view", "variant", "digest", "name")
"""The arrays of a file besides the measures'."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """What one view gave.

    position: of its picture in the data set. view: its number in the picture. variant: 0 for the picture as it is, else
    which corruption of it. digest: SHA-256 of its bytes, in hexadecimal. numbers: in the order of the measures.
    """

    position: int
    name: str
    view: int
    variant: int
    digest: str
    numbers: tuple[float, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """What a run of neighbouring pictures gave: all their views, and those that could not be read."""

    number: int
    rows: tuple[Row, ...]
    broken: tuple[Broken, ...]


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Rows, sorted by position, variant and view: arrays of one length, and the names of the pictures.

    numbers: float64 by measure.
    """

    names: tuple[str, ...]
    position: Array
    view: Array
    variant: Array
    digest: Array
    numbers: Mapping[str, Array]

    def __len__(self) -> int:
        """How many views."""
        return len(self.names)

    def picked(self, chosen: Array) -> "Columns":
        """The rows of these places, or where that is true."""
        places = np.arange(len(self))[chosen]
        return Columns(
            names=tuple(self.names[place] for place in places),
            position=self.position[places],
            view=self.view[places],
            variant=self.variant[places],
            digest=self.digest[places],
            numbers={name: array[places] for name, array in self.numbers.items()},
        )

    def clean(self) -> "Columns":
        """The views of the pictures as they are."""
        return self.picked(self.variant == 0)

    def per_picture(self) -> tuple[list[str], dict[str, Array]]:
        """Names of the pictures, and means over their views; asked of what is `clean`."""
        _, first, picture, count = np.unique(self.position, return_index=True, return_inverse=True, return_counts=True)
        means = {name: np.bincount(picture, array) / count for name, array in self.numbers.items()}
        return [self.names[place] for place in first], means

    def data_sha256(self) -> str:
        """Of the names and bytes of all views of the pictures as they are."""
        whole = hashlib.sha256()
        for place in np.flatnonzero(self.variant == 0):
            whole.update(f"{self.names[place]} {self.view[place]} {self.digest[place].tobytes().hex()}\n".encode())
        return whole.hexdigest()


def columns_of(measures: Sequence[str], blocks: Iterable[Block]) -> Columns:
    """The rows of blocks, in whatever order these came."""
    rows = sorted(
        (row for block in blocks for row in block.rows), key=lambda row: (row.position, row.variant, row.view)
    )
    numbers = np.array([row.numbers for row in rows], dtype=np.float64).reshape(len(rows), len(measures))
    digests = b"".join(bytes.fromhex(row.digest) for row in rows)
    return Columns(
        names=tuple(row.name for row in rows),
        position=np.array([row.position for row in rows], dtype=np.int64),
        view=np.array([row.view for row in rows], dtype=np.int64),
        variant=np.array([row.variant for row in rows], dtype=np.int64),
        digest=np.frombuffer(digests, dtype=np.uint8).reshape(len(rows), 32),
        numbers={name: numbers[:, place].copy() for place, name in enumerate(measures)},
    )


def joined(parts: Sequence[Columns]) -> Columns:
    """One set of columns out of several of the same measures, at least one.

    Raises:
        SpecError: a view is in two of them.
    """
    names = [name for part in parts for name in part.names]
    position, view, variant, digest = (
        np.concatenate([getattr(part, field) for part in parts]) for field in ("position", "view", "variant", "digest")
    )
    order = np.lexsort((view, variant, position))
    keys = np.stack([position, variant, view])[:, order]
    twice = np.flatnonzero((keys[:, 1:] == keys[:, :-1]).all(axis=0)) if len(names) > 1 else np.zeros(0, np.int64)
    if len(twice):
        raise SpecError(f"'{names[order[twice[0]]]}' is in two of the shards; each picture must be counted once")
    return Columns(
        names=tuple(names[place] for place in order),
        position=position[order],
        view=view[order],
        variant=variant[order],
        digest=digest[order],
        numbers={name: np.concatenate([part.numbers[name] for part in parts])[order] for name in parts[0].numbers},
    )


def to_bytes(columns: Columns) -> bytes:
    """A NumPy archive: the same bytes for the same columns."""
    file = io.BytesIO()
    names = np.frombuffer("\0".join(columns.names).encode(), dtype=np.uint8)
    fixed = {field: getattr(columns, field) for field in ("position", "view", "variant", "digest")}
    np.savez(file, allow_pickle=False, **fixed, name=names, **{f"n_{k}": v for k, v in columns.numbers.items()})
    return file.getvalue()


def from_file(path: Path, sha256: str) -> Columns:
    """Read columns, as a record names them.

    Raises:
        SpecError: the file is absent, or not the one that was written with the record.
    """
    try:
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        raise SpecError(f"the numbers of the record are in '{path}', which cannot be read: {error}") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise SpecError(f"'{path}' was changed after it was written, or belongs to another record; calibrate again")
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            held = {name: arrays[name] for name in arrays.files}
        text = held["name"].tobytes().decode()
        return Columns(
            names=tuple(text.split("\0")) if len(held["position"]) else (),
            **{field: held[field] for field in ("position", "view", "variant", "digest")},
            numbers={name[2:]: array for name, array in held.items() if name.startswith("n_")},
        )
    except (ValueError, KeyError, OSError, zipfile.BadZipFile) as error:
        raise SpecError(f"'{path}' holds no columns ({first_line(error)}); calibrate again") from error


def columns_beside(record: Path) -> Path:
    """Where the columns of a record lie.

    Example:
        >>> columns_beside(Path("out/llava.json")).name
        'llava.columns.npz'
    """
    return record.with_name(f"{record.name.removesuffix('.json')}.columns.npz")
