"""DLPack by hand: take a tensor of any library that speaks it, and hand out device memory that any of them can take.

The structures are those of DLPack 0.8, which every library still reads. NumPy can do this for the CPU only, and torch
is not to be needed on the edge.
"""

import contextlib
import ctypes
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from vtp_export.errors import ImageError

CPU, CUDA = 1, 2
"""Kinds of devices, `DLDeviceType`."""

_CODES = {"i": 0, "u": 1, "f": 2}


class _Tensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


class _Managed(ctypes.Structure):
    pass


_DELETER = ctypes.CFUNCTYPE(None, ctypes.POINTER(_Managed))
_Managed._fields_ = (("tensor", _Tensor), ("context", ctypes.c_void_p), ("deleter", _DELETER))

_new = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)(
    ("PyCapsule_New", ctypes.pythonapi)
)
_pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi)
)
_rename = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object, ctypes.c_char_p)(("PyCapsule_SetName", ctypes.pythonapi))
# By address: a capsule that is being destroyed must not be referred to again.
_is_named = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p)(("PyCapsule_IsValid", ctypes.pythonapi))
_address = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi)
)


@dataclass(frozen=True)
class View:
    """Memory that belongs to another library: an address on a device, and how it is laid out (C order)."""

    pointer: int
    device: tuple[int, int]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize


@contextlib.contextmanager
def borrowed(tensor: Any, stream: int | None = None) -> Iterator[View]:
    """Look into a tensor of another library, for as long as the block lasts.

    Args:
        tensor: has `__dlpack__`.
        stream: a CUDA stream that the tensor must be ready for; None on the CPU.

    Raises:
        ImageError: it has no `__dlpack__`, is not in C order, or has a dtype that NumPy has not.
    """
    if not hasattr(tensor, "__dlpack__"):
        raise ImageError(f"{type(tensor).__name__} has no __dlpack__; give a tensor of torch, CuPy, NumPy or the like")
    capsule = tensor.__dlpack__() if stream is None else tensor.__dlpack__(stream=stream)
    managed = ctypes.cast(_pointer(capsule, NAME), ctypes.POINTER(_Managed))
    _rename(capsule, USED)  # from here on it is ours to delete
    try:
        yield _view(managed.contents.tensor)
    finally:
        if managed.contents.deleter:
            managed.contents.deleter(managed)


def _view(tensor: _Tensor) -> View:
    shape = tuple(tensor.shape[i] for i in range(tensor.ndim))
    letters = {code: letter for letter, code in _CODES.items()}
    if tensor.lanes != 1 or tensor.code not in letters or tensor.bits % 8:
        raise ImageError(f"a tensor of DLPack's type code {tensor.code} with {tensor.bits} bits; use float32")
    if tensor.strides:
        expected = 1
        for length, stride in zip(
            reversed(shape), reversed([tensor.strides[i] for i in range(len(shape))]), strict=True
        ):
            if length != 1 and stride != expected:
                raise ImageError(f"the tensor of shape {shape} is not in C order; make it contiguous")
            expected *= length
    dtype = np.dtype(f"{letters[tensor.code]}{tensor.bits // 8}")
    device = (tensor.device_type, tensor.device_id)
    return View((tensor.data or 0) + tensor.byte_offset, device, shape, dtype)


_alive: dict[int, tuple[Any, ...]] = {}
"""What a capsule that was handed out needs, by its address, until whoever took it lets go."""


def _let_go(managed: Any) -> None:
    """Whoever took a tensor is done with it."""
    _alive.pop(ctypes.addressof(managed.contents), None)


def _never_taken(capsule: int) -> None:
    """A capsule goes away; if nobody took the tensor, its memory goes too."""
    if _is_named(capsule, NAME):
        _alive.pop(_address(capsule, NAME), None)


NAME, USED = b"dltensor", b"used_dltensor"
"""Names of a capsule; they must live as long as any capsule."""

_deleter = _DELETER(_let_go)
_destructor = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(_never_taken)


class DeviceArray:
    """Memory on a device that other libraries can take over without a copy: `torch.from_dlpack(array)`.

    Args:
        pointer: address.
        shape: C order.
        dtype: NumPy's.
        device: DLPack's (kind, number).
        owner: kept alive for as long as anyone uses the memory.
    """

    def __init__(
        self, pointer: int, shape: tuple[int, ...], dtype: np.dtype[Any], device: tuple[int, int], owner: object
    ) -> None:
        self.pointer, self.shape, self.dtype, self.device, self.owner = pointer, shape, np.dtype(dtype), device, owner

    def __dlpack_device__(self) -> tuple[int, int]:
        """DLPack's (kind, number)."""
        return self.device

    def __dlpack__(self, *, stream: object = None, **_: object) -> Any:
        """A capsule; the memory is ready when it is handed out, so the stream does not matter."""
        lengths = ctypes.c_int64 * len(self.shape)
        shape = lengths(*self.shape)
        strides = lengths(*(math.prod(self.shape[i + 1 :]) for i in range(len(self.shape))))
        code, bits = _CODES[self.dtype.kind], self.dtype.itemsize * 8
        data = ctypes.c_void_p(self.pointer)
        tensor = _Tensor(data, *self.device, len(self.shape), code, bits, 1, shape, strides, 0)
        managed = _Managed(tensor, None, _deleter)
        address = ctypes.addressof(managed)
        _alive[address] = (managed, shape, strides, self.owner)
        return _new(address, NAME, ctypes.cast(_destructor, ctypes.c_void_p))
