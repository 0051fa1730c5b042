"""Write a folder so that a reader sees the old one or the new one, whole, whatever happens to the writer.

The new folder grows beside the final one under the name `.NAME.partial-XXXXXXXX` and is renamed at the end. Its writer
holds the lock on it (see `locks.py`), and during the exchange the lock on the old one too, which is the one that
everybody takes who writes into a folder that is there.
"""

import contextlib
import ctypes
import errno
import os
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from vtp_export.errors import ArtefactError
from vtp_export.runtime import locks
from vtp_export.runtime.writing import OUT_OF_SPACE, UNSUPPORTED, sentence, sync

_NOREPLACE, _EXCHANGE = 1, 2  # linux/fs.h
_AT_FDCWD = -100
_WRITE_ERRORS = OUT_OF_SPACE | {errno.EFBIG, errno.EROFS, errno.EIO, errno.ENAMETOOLONG}


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
    made: list[Path] = []
    partial: Path | None = None
    lock = -1
    try:
        _sweep(out)
        _refuse_existing(out, force, replaceable)
        _make_parents(out.parent, made)
        partial, lock = fresh_folder(out.parent, f".{out.name}.partial-")
        yield partial
        _flush(partial)
        _publish(partial, out, force, replaceable)
        partial, made = None, []
    except OSError as error:
        if not concerns(error, out, partial):
            raise  # the body failed at something else
        raise ArtefactError(sentence(error, out)) from error
    finally:
        if partial is not None:
            discard(partial)
        if lock >= 0:
            os.close(lock)
        for folder in reversed(made):
            with contextlib.suppress(OSError):  # another writer uses it by now
                folder.rmdir()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Wait for, and hold, the one lock on an existing folder; no lock where the file system has none.

    Raises:
        ArtefactError: the folder is not there, or is another user's.
    """
    try:
        descriptor = locks.hold(folder)
    except OSError as error:
        raise ArtefactError(sentence(error, folder)) from error
    try:
        yield
    finally:
        os.close(descriptor)


def fresh_folder(parent: Path, prefix: str) -> tuple[Path, int]:
    """Make a folder of a new name, and return it with the descriptor that holds its lock until it is closed.

    Raises:
        OSError: it cannot be made.
    """
    while True:
        folder = parent / f"{prefix}{secrets.token_hex(4)}"
        try:
            folder.mkdir()
            descriptor = os.open(folder, os.O_RDONLY)
            if locks.mine(descriptor, folder):
                return folder, descriptor
        except (FileExistsError, FileNotFoundError):  # the second: swept before it was locked
            if not parent.is_dir():
                raise
        except BaseException:  # interrupted
            discard(folder)
            raise


def sweep_folders(parent: Path, prefix: str) -> None:
    """Remove the folders that killed processes left under such names, and nothing of living ones.

    Raises:
        OSError: the parent cannot be listed.
    """
    for entry in list(os.scandir(parent)):
        if entry.name.startswith(prefix) and entry.is_dir(follow_symlinks=False):
            with locks.abandoned(Path(entry.path)) as ended:
                if ended:
                    discard(Path(entry.path))


def discard(folder: Path) -> None:
    """Remove a folder as far as that can be done, and though the user interrupts it."""
    try:
        shutil.rmtree(folder, ignore_errors=True)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


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
        if there and out.is_mount():  # or that would be found out when all is written
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
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


def _sweep(out: Path) -> None:
    """Remove what killed writers of `out` left, and bring back what one of them had put aside."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        sweep_folders(out.parent, f".{out.name}.partial-")
        if not os.path.lexists(out):
            _bring_back(out)
        sweep_folders(out.parent, f".{out.name}.replaced-")


def _bring_back(out: Path) -> None:
    """After a death between the two steps of `_swap_in_two_steps`."""
    for entry in list(os.scandir(out.parent)):
        if entry.name.startswith(f".{out.name}.replaced-"):
            with locks.abandoned(Path(entry.path)) as ended:
                if ended and not os.path.lexists(out):
                    Path(entry.path).rename(out)


def _flush(folder: Path) -> None:
    """Bring every byte to the disk before the name says that they are there."""
    for root, _, names in os.walk(folder):
        for name in names:
            if not (path := Path(root, name)).is_symlink():
                sync(path)
        sync(Path(root))


def _publish(partial: Path, out: Path, force: bool, replaceable: Callable[[Path], str | None]) -> None:
    """Give the finished folder its name. Others may have written there in the meantime, or be writing."""
    while True:
        _refuse_existing(out, force, replaceable)
        with contextlib.suppress(FileExistsError, FileNotFoundError):  # it came, or went, between two lines
            if os.path.lexists(out):
                _exchange(partial, out, force, replaceable)
            elif not _rename_at_once(partial, out, _NOREPLACE):
                partial.rename(out)
            break
        if not partial.is_dir():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(partial))
    sync(out.parent)


def _exchange(partial: Path, out: Path, force: bool, replaceable: Callable[[Path], str | None]) -> None:
    """Put the new folder in the place of the old one, in which nobody writes meanwhile."""
    with locks.held(out):
        _refuse_existing(out, force, replaceable)
        if not _rename_at_once(partial, out, _EXCHANGE):
            _swap_in_two_steps(partial, out)
        else:
            discard(partial)  # the old one, which has this name now


def _swap_in_two_steps(partial: Path, out: Path) -> None:
    """For file systems without an exchange: `out` is absent for an instant, and no state is lost."""
    old = out.with_name(f".{out.name}.replaced-{secrets.token_hex(4)}")
    out.rename(old)
    try:
        partial.rename(out)
    except BaseException:
        old.rename(out)
        raise
    discard(old)


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


def concerns(error: OSError, out: Path, partial: Path | None) -> bool:
    """Whether an error is about a folder being written.

    Args:
        error: of whoever filled it.
        out: what it is to be, or where it is to go.
        partial: the folder itself; None before there is one.
    """
    if partial is None or error.errno in _WRITE_ERRORS:
        return True
    names = [name for name in (error.filename, error.filename2) if isinstance(name, (str, os.PathLike))]
    return any(Path(name) == out or partial in (Path(name), *Path(name).parents) for name in names)
