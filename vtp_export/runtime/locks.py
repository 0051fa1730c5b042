"""Locks on files and folders, which the kernel drops when their process dies.

A writer locks what it is making, for as long as it lives. So the next writer can tell what a killed one has left from
what a living one is still filling. A lock is on the file or folder itself and not on its name: who waited for one looks
again whether the name still means the same.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOCKLESS_SECONDS = 86400.0
"""Where a file system has no locks, what nobody has added to for this long has no writer."""


def take(descriptor: int, wait: bool) -> bool | None:
    """Lock an open file or folder: True when taken, False when another holds it, None where there are no locks."""
    try:
        import fcntl  # absent on Windows, where artefacts can still be read
    except ImportError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def is_at(descriptor: int, path: Path) -> bool:
    """Whether a name still means what was opened by it."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def hold(path: Path) -> int:
    """Wait for the lock on what has a name, and return the descriptor that holds it until it is closed.

    Raises:
        OSError: nothing has the name (any more), or it cannot be opened.
    """
    while True:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            take(descriptor, wait=True)
            if is_at(descriptor, path):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


@contextmanager
def held(path: Path) -> Iterator[None]:
    """`hold` for the length of a block."""
    descriptor = hold(path)
    try:
        yield
    finally:
        os.close(descriptor)


def mine(descriptor: int, path: Path) -> bool:
    """Lock what was just made; False if a sweep was quicker, and closes the descriptor: make another."""
    if take(descriptor, wait=False) is not False and is_at(descriptor, path):
        return True
    os.close(descriptor)
    return False


@contextmanager
def abandoned(path: Path) -> Iterator[bool]:
    """Whether no living process holds the lock on a file or folder, whose makers hold it; none can during the block."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:  # gone already, or another user's
        yield False
        return
    try:
        taken = take(descriptor, wait=False)
        old = time.time() - os.fstat(descriptor).st_mtime > LOCKLESS_SECONDS
        yield (old if taken is None else taken) and is_at(descriptor, path)
    finally:
        os.close(descriptor)
