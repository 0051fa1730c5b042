"""One file for the weights of several ONNX files: what is equal to the byte in two of them is there once."""

import hashlib
import os
import shutil
from pathlib import Path
from types import TracebackType

import onnx_ir as ir

LEAST_BYTES = 1024
"""Of what goes into the pool: less stays in the graph, where shapes and axes are looked for."""

ALIGNMENT = 4096
"""Tensors begin at pages, from which runtimes map them into memory."""


class WeightPool:
    """A file that grows by the weights of one ONNX file after the other.

    Args:
        path: the file; every ONNX file that takes part names one of the same name beside itself.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._places: dict[bytes, int] = {}
        self._end = 0

    def __enter__(self) -> "WeightPool":
        """Open the file."""
        self._file = self._path.open("wb")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self._file.close()

    def take(self, main: Path) -> None:
        """Move the weights of an ONNX file into the pool; the file keeps what is small, and names the pool.

        Args:
            main: it is written anew. Weights beside it are not needed any more.

        Raises:
            OSError: there is no room.
        """
        model = ir.load(main)
        for value in [value for graph in model.graphs() for value in graph.initializers.values()]:
            tensor = value.const_value
            if tensor is None:
                continue
            if tensor.nbytes < LEAST_BYTES:
                value.const_value = ir.Tensor(tensor.numpy().copy(), dtype=tensor.dtype, name=tensor.name)
                continue
            value.const_value = ir.ExternalTensor(
                self._path.name,
                self._place(tensor.tobytes()),
                tensor.nbytes,
                tensor.dtype,
                shape=ir.Shape(tensor.shape.numpy()),
                name=tensor.name or "",
                base_dir=main.parent,
            )
        self._file.flush()
        written = main.with_name(f"{main.name}.pooled")
        ir.save(model, written)
        written.replace(main)

    def _place(self, content: bytes) -> int:
        """Where these bytes begin."""
        digest = hashlib.sha256(content).digest()
        if digest not in self._places:
            start = -(-self._end // ALIGNMENT) * ALIGNMENT
            self._file.seek(start)
            self._file.write(content)
            self._places[digest], self._end = start, start + len(content)
        return self._places[digest]


def linked(source: Path, target: Path) -> None:
    """The same file under another name; a copy where the file system has no links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
