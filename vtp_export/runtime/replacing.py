"""Write a folder so that a reader sees the old one or the new one, whole, whatever happens to the writer.

The new folder grows beside the final one under the name `.NAME.partial-XXXXXXXX` and is renamed at the end.
A writer holds a lock on a file inside it for as long as it lives, and the kernel drops that lock when the
process dies; so the next writer can tell what a killed one left from what a living one is still filling.
"""

import contextlib
import ctypes
import errno
import os
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from vtp_export.errors import ArtefactError
from vtp_export.runtime.writing import UNSUPPORTED, sentence, sync

LOCK = ".writing.lock"
# A folder has no lock file for the instant after it was made and the instant before it is renamed; one that
# has stayed so for this long has no writer.
LOCKLESS_SECONDS = 3600.0
LOCKLESS_MOMENT = 60.0  # of a folder whose lock is on itself

_NOREPLACE, _EXCHANGE = 1, 2  # linux/fs.h
_AT_FDCWD = -100
_OUT_OF_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.ENAMETOOLONG}


@contextmanager
def replacing(out: Path, force: bool, replaceable: Callable[[Path], str | None]) -> Iterator[Path]:
    """Yield a fresh folder beside `out` that becomes `out` when the block ends well.

    Args:
        out: the final folder. Its parents are made as needed, and removed again on failure.
        force: whether an `out` that is already there may be replaced.
        replaceable: says why an existing folder must not be replaced, or None.

    Raises:
        ArtefactError: `out` is there and must stay, or writing failed (the disk is full, for example).
    """
    out = _resolved(out)
    _refuse_existing(out, force, replaceable)
    made: list[Path] = []
    partial: Path | None = None
    lock = -1
    try:
        _make_parents(out.parent, made)
        _sweep(out)
        partial, lock = _start(out)
        yield partial
        _flush(partial)
        (partial / LOCK).unlink()
        _refuse_existing(out, force, replaceable)  # others may have written it in the meantime
        _publish(partial, out, force)
        partial, made = None, []
    except OSError as error:
        if not _concerns(error, out, partial):
            raise  # the body failed at something else
        raise ArtefactError(sentence(error, out)) from error
    finally:
        if partial is not None:
            shutil.rmtree(partial, ignore_errors=True)
        if lock >= 0:
            os.close(lock)
        for folder in reversed(made):
            with contextlib.suppress(OSError):  # another writer uses it by now
                folder.rmdir()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Wait for, and hold, the one lock on an existing folder; no lock where the file system has none."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise ArtefactError(sentence(error, folder)) from error
    try:
        _take_lock(descriptor, wait=True)
        yield
    finally:
        os.close(descriptor)


def abandoned(folder: Path) -> bool:
    """Whether nobody holds the lock on a folder, and has not since a while: for folders whose makers hold it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        old = time.time() - os.fstat(descriptor).st_mtime > LOCKLESS_MOMENT
        return old and bool(_take_lock(descriptor, wait=False))
    finally:
        os.close(descriptor)


def _resolved(out: Path) -> Path:
    """The real place of `out`, so that a link to a folder stays a link."""
    try:
        resolved = Path(out).resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise ArtefactError(f"'{out}' cannot be used as a folder: {error}") from error
    if not resolved.name:
        raise ArtefactError(f"'{out}' is the root of the file system; name a folder inside it")
    return resolved


def _refuse_existing(out: Path, force: bool, replaceable: Callable[[Path], str | None]) -> None:
    try:
        there = os.path.lexists(out)
        if there and not force:
            raise ArtefactError(f"'{out}' already exists; name another folder, or replace it with --force")
        reason = replaceable(out) if there else None
    except OSError as error:
        raise ArtefactError(sentence(error, out)) from error
    if reason is not None:
        raise ArtefactError(f"--force does not replace '{out}': {reason}; name another folder")


def _make_parents(parent: Path, made: list[Path]) -> None:
    """Make missing folders, noting each at once so that an interrupt forgets none."""
    missing = []
    while not parent.exists():
        missing.append(parent)
        parent = parent.parent
    for folder in reversed(missing):
        with contextlib.suppress(FileExistsError):
            folder.mkdir()
            made.append(folder)


def _start(out: Path) -> tuple[Path, int]:
    """Make the partial folder and take its lock; the descriptor keeps it."""
    while True:
        partial = out.with_name(f".{out.name}.partial-{secrets.token_hex(4)}")
        try:
            partial.mkdir()
        except FileExistsError:
            continue
        try:
            descriptor = os.open(partial / LOCK, os.O_CREAT | os.O_RDWR, 0o666)
        except OSError:
            partial.rmdir()
            raise
        # A sweep may have come between the two lines above: then it holds the lock, or the file is gone.
        if _take_lock(descriptor, wait=False) is not False and os.fstat(descriptor).st_nlink > 0:
            return partial, descriptor
        os.close(descriptor)


def _take_lock(descriptor: int, wait: bool) -> bool | None:
    """True when taken, False when another process holds it, None where there are no locks."""
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


def _sweep(out: Path) -> None:
    """Remove what killed writers of `out` left behind, and nothing of living ones."""
    for entry in list(os.scandir(out.parent)):
        if entry.is_dir(follow_symlinks=False):
            if entry.name.startswith(f".{out.name}.partial-"):
                _sweep_partial(Path(entry.path))
            elif entry.name.startswith(f".{out.name}.replaced-") and out.exists():
                shutil.rmtree(entry.path, ignore_errors=True)


def _sweep_partial(partial: Path) -> None:
    try:
        descriptor = os.open(partial / LOCK, os.O_RDWR)
    except FileNotFoundError:
        with contextlib.suppress(OSError):
            if time.time() - partial.stat().st_mtime > LOCKLESS_SECONDS:
                shutil.rmtree(partial, ignore_errors=True)
        return
    except OSError:
        return  # another user's
    try:
        if _take_lock(descriptor, wait=False):
            shutil.rmtree(partial, ignore_errors=True)
    finally:
        os.close(descriptor)


def _flush(folder: Path) -> None:
    """Bring every byte to the disk before the name says that they are there."""
    for root, _, names in os.walk(folder):
        for name in names:
            if not (path := Path(root, name)).is_symlink():
                sync(path)
        sync(Path(root))


def _publish(partial: Path, out: Path, force: bool) -> None:
    """Give the finished folder its name."""
    if force and out.exists():
        if not _rename_at_once(partial, out, _EXCHANGE):
            _swap_in_two_steps(partial, out)
        else:
            shutil.rmtree(partial, ignore_errors=True)  # the old one, which has this name now
    elif not _rename_at_once(partial, out, _NOREPLACE):
        partial.rename(out)
    sync(out.parent)


def _swap_in_two_steps(partial: Path, out: Path) -> None:
    """For file systems without an exchange: `out` is absent for an instant, and no state is lost."""
    old = out.with_name(f".{out.name}.replaced-{secrets.token_hex(4)}")
    out.rename(old)
    try:
        partial.rename(out)
    except BaseException:
        old.rename(out)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _rename_at_once(source: Path, target: Path, flags: int) -> bool:
    """Linux's renameat2; False where the system or the file system lacks it."""
    if not sys.platform.startswith("linux"):
        return False
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        return False
    arguments = (_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), ctypes.c_uint(flags))
    if renameat2(*arguments) == 0:
        return True
    number = ctypes.get_errno()
    if number in UNSUPPORTED:
        return False
    raise OSError(number, os.strerror(number), str(target))


def _concerns(error: OSError, out: Path, partial: Path | None) -> bool:
    """Whether an error in the block is about the folder being written."""
    if partial is None or error.errno in _OUT_OF_SPACE:
        return True
    names = [name for name in (error.filename, error.filename2) if isinstance(name, (str, os.PathLike))]
    return any(Path(name) == out or partial in (Path(name), *Path(name).parents) for name in names)
