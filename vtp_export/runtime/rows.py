"""Arrays that grow by batches, on disk, and end as one `.npz` file: memory stays that of a batch."""

import shutil
import tempfile
import zipfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np


@dataclass
class _Column:
    """One array so far: the bytes of its rows, their dtype and shape, and how many there are."""

    file: IO[bytes]
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    length: int = 0


class Rows:
    """Rows of several arrays. Leave the `with` block to give the disk space back.

    Args:
        folder: where the rows wait, in files without a name: nothing is left of a process that was killed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._columns, self._files = folder, dict[str, _Column](), ExitStack()

    def add(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Append rows.

        Args:
            arrays: by name, (b, ...); every time the same names, dtypes and shapes of a row.

        Raises:
            OSError: there is no room.
        """
        for name, array in arrays.items():
            if name not in self._columns:
                file = self._files.enter_context(tempfile.TemporaryFile(dir=self._folder))  # noqa: SIM115 (the stack closes it)
                self._columns[name] = _Column(file, array.dtype, array.shape[1:])
            column = self._columns[name]
            column.file.write(np.ascontiguousarray(array).data)
            column.length += len(array)

    def save(self, file: BinaryIO, first: Mapping[str, np.ndarray]) -> None:
        """Write what `numpy.savez` would write of `first` and of the rows, in this order.

        Raises:
            OSError: there is no room.
        """
        with zipfile.ZipFile(file, "w") as archive:
            for name, array in first.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                    np.lib.format.write_array(entry, array, allow_pickle=False)
            for name, column in self._columns.items():
                head = {
                    "descr": np.lib.format.dtype_to_descr(column.dtype),
                    "fortran_order": False,
                    "shape": (column.length, *column.shape),
                }
                column.file.seek(0)
                with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                    np.lib.format.write_array_header_1_0(entry, head)
                    shutil.copyfileobj(column.file, entry, 1 << 20)

    def __enter__(self) -> "Rows":
        """Itself."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Give the disk space back."""
        self._files.close()
