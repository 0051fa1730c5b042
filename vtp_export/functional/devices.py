"""Where torch computes: a device that is asked for is there, and computes what float32 means."""

import ctypes
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from vtp_export.errors import UnavailableError, UnknownNameError, first_line
from vtp_export.settings import usable_threads

DEVICES = ("cpu", "cuda")
DTYPES = ("float32", "float16", "bfloat16")

MAPPED = 1 << 20
"""Bytes from which on a block of memory is one of its own, given back when it is freed."""
M_MMAP_THRESHOLD = -3  # of malloc.h


def prepare(device: str, threads: int | None = None) -> None:
    """Set torch up for a device.

    Args:
        device: one of `DEVICES`. It is an order: where it is not there, this fails.
        threads: CPU threads of one operation, from now on and in the whole process; None leaves them as they are.

    Raises:
        UnknownNameError: there is no such device.
        SpecError: less than one thread.
        UnavailableError: the machine, or this torch, has none of that kind; or torch would hang, because this process
            was forked from one in which it has computed with several threads.
    """
    if _process.hangs:
        raise UnavailableError(
            "torch has computed in the process that this one was forked from, and would hang: its threads are gone; "
            "fork before that, or start processes with multiprocessing's spawn (docs/serving.md)"
        )
    if device not in DEVICES:
        raise UnknownNameError("device", device, DEVICES)
    _give_back_large_blocks()
    threads = usable_threads(threads)
    if threads is not None:
        torch.set_num_threads(threads)
    if device == "cuda":
        if reason := _why_no_cuda():
            raise UnavailableError(reason)
        # 10 bits of mantissa are too few for effective rank and distances, and torch allows them in convolutions.
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False


def _give_back_large_blocks() -> None:
    """Of the whole process, where the C library is glibc: by its own rule blocks of up to 32 MB stay among small ones.

    Activations of a large tower are of that size: an export in int8 held twice the memory that was in use.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(M_MMAP_THRESHOLD, MAPPED)


class _Process:
    """What torch has done in this process: its threads do not survive a fork, and it waits for them for ever."""

    def __init__(self) -> None:
        self.computed = self.hangs = False
        self.lock, self.runs, self.usual = threading.Lock(), 0, 1

    def forked(self) -> None:
        """Called in the child."""
        self.hangs = self.computed
        self.lock, self.runs = threading.Lock(), 0


_process = _Process()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_process.forked)


@contextmanager
def computing(threads: int | None = None) -> Iterator[None]:
    """Around whatever torch computes.

    Args:
        threads: CPU threads of one operation inside the block; afterwards there are as many as before. None leaves them
            as they are.
    """
    if threads is not None:
        with _process.lock:  # runs may overlap: the last one to end must not bring back what another had set
            _process.usual = torch.get_num_threads() if _process.runs == 0 else _process.usual
            _process.runs += 1
        torch.set_num_threads(threads)
    _process.computed = _process.computed or torch.get_num_threads() > 1
    try:
        yield
    finally:
        if threads is not None:
            with _process.lock:
                _process.runs -= 1
                torch.set_num_threads(_process.usual)


def dtype_of(name: str) -> torch.dtype:
    """A dtype by its name.

    Raises:
        UnknownNameError: it is none of `DTYPES`.

    Example:
        >>> dtype_of("bfloat16")
        torch.bfloat16
    """
    if name not in DTYPES:
        raise UnknownNameError("dtype", name, DTYPES)
    dtype: torch.dtype = getattr(torch, name)
    return dtype


def _why_no_cuda() -> str | None:
    if torch.version.cuda is None:
        return f"this torch ({torch.__version__}) is built without CUDA; install one of https://pytorch.org, or use cpu"
    try:
        torch.cuda.init()
    except (RuntimeError, AssertionError) as error:
        return f"torch cannot use CUDA: {first_line(error)}"
    return None
