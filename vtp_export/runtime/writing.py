"""Write a file so that a reader finds the old bytes or the new ones, whole, whatever happens to the writer.

For folders see `replacing.py`.
"""

import contextlib
import errno
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from vtp_export.errors import ArtefactError, SpecError
from vtp_export.runtime import locks

UNSUPPORTED = {errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EPERM}  # EPERM: a sandbox's way to say so
OUT_OF_SPACE = {errno.ENOSPC, errno.EDQUOT}

_REMEDIES = {
    **dict.fromkeys(OUT_OF_SPACE, "free some space, or name another place"),
    errno.EFBIG: "files may not grow so large here: raise the limit (ulimit -f), or name another place",
    **dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM), "name a place that can be written"),
    errno.EXDEV: "a folder that comes with a container's image cannot be renamed; remove it first, or name another",
    errno.EBUSY: "a folder that is mounted cannot be renamed; name one inside it",
}


MOST_NAME_BYTES = 255
"""Of a file's name, on every file system that is met."""


def cut_name(text: str, room: int) -> str:
    """The start of a name that leaves so many bytes for what stands around it."""
    encoded = os.fsencode(text)
    return text if len(encoded) + room <= MOST_NAME_BYTES else encoded[: MOST_NAME_BYTES - room].decode(errors="ignore")


@contextmanager
def atomically(path: Path, follow: bool = True) -> Iterator[BinaryIO]:
    """A file beside `path`, open for writing, that takes its place when the block ends well.

    What writers that were killed have left of the same file is removed.

    Args:
        path: a regular file, or nothing yet.
        follow: where it is a link, write what that leads to; otherwise replace the link.

    Raises:
        ArtefactError: the file cannot be written, or a folder, a pipe or a device has the name: a rename would put a
            file in its place.
    """
    temporary: Path | None = None
    try:
        target = _target(path, follow)
        _sweep(target)
        temporary, descriptor = _fresh(target)
        with os.fdopen(descriptor, "wb") as file:  # holds the lock until the file has its name
            yield file
            file.flush()
            os.fsync(descriptor)
            temporary.replace(target)
        temporary = None
        sync(target.parent)
    except OSError as error:
        raise ArtefactError(sentence(error, path)) from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)


def write_atomically(path: Path, text: str, follow: bool = True) -> None:
    """Replace a text file, in UTF-8; see `atomically`.

    Raises:
        ArtefactError: the file cannot be written.
    """
    with atomically(path, follow) as file:
        file.write(text.encode("utf-8"))


def refuse_unwritable(path: Path) -> None:
    """See before the work, and leaving nothing behind, whether a folder can be made and filled.

    Raises:
        ArtefactError: it cannot, or it is a file.
    """
    try:
        _try_out(path)
    except OSError as error:
        raise ArtefactError(sentence(error, path)) from error


def refuse_unwritable_file(path: Path) -> None:
    """The same of a file that is to be written by `atomically`.

    Raises:
        ArtefactError: it cannot be written.
    """
    try:
        _try_out(_target(path, follow=True).parent)
    except OSError as error:
        raise ArtefactError(sentence(error, path)) from error


def refuse_overwriting(targets: Iterable[Path], read: Iterable[Path]) -> None:
    """See before the work that what is written takes the place of nothing that is read.

    Raises:
        SpecError: one of the targets is one of the files that are read, by whatever name or link.
    """
    there = {os.path.realpath(path) for path in read}
    for target in targets:
        if os.path.realpath(target) in there:
            raise SpecError(f"'{target}' is read here, and would be written over; name another place for the result")


def _try_out(folder: Path) -> None:
    place = folder
    while not os.path.lexists(place):
        place = place.parent
    if not place.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    probe = place / f".{secrets.token_hex(8)}"
    os.close(os.open(probe, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    probe.unlink()


def sync(path: Path) -> None:
    """Bring a file or a folder to the disk, as far as it may be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except PermissionError:
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in UNSUPPORTED:  # some file systems cannot flush a folder
            raise
    finally:
        os.close(descriptor)


def sentence(error: OSError, out: Path) -> str:
    """What failed, why, what would help, and how much room there is where that is what lacks."""
    reason = error.strerror or str(error)
    free = free_space(out) if error.errno in OUT_OF_SPACE else ""
    remedy = _REMEDIES.get(error.errno or 0)
    return f"cannot write '{out}': {reason}{free}" + (f"; {remedy}" if remedy else "")


def free_space(out: Path) -> str:
    """How much room there is, as the end of a clause; empty where nobody knows."""
    with contextlib.suppress(OSError, ValueError):
        while not os.path.exists(out):  # noqa: PTH110 (Path.exists raises where a name is too long)
            out = out.parent
        megabytes = shutil.disk_usage(out).free / 1e6
        amount = f"{megabytes / 1e3:.1f} GB" if megabytes >= 1e3 else f"{megabytes:.1f} MB"
        return f" ({amount} are free there)"
    return ""


def _target(path: Path, follow: bool) -> Path:
    """The file whose name the new one takes."""
    if not follow and path.is_symlink():
        return path
    try:
        target = path.resolve() if path.is_symlink() else path
        mode = target.stat().st_mode
    except FileNotFoundError:
        return target
    except (RuntimeError, ValueError) as error:  # links that lead to one another; a name that cannot be one
        raise ArtefactError(f"cannot write '{path}': {error}") from error
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a pipe or a device"
        raise ArtefactError(f"cannot write '{path}': it is {kind}; name a file")
    return target


def _prefix(target: Path) -> str:
    """What the name of a file that is being written begins with; eight digits follow."""
    return f".{cut_name(target.name, 10)}."


def _fresh(target: Path) -> tuple[Path, int]:
    """A new file beside the target, and the descriptor that writes it and holds its lock."""
    while True:
        path = target.with_name(_prefix(target) + secrets.token_hex(4))
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        try:
            if locks.mine(descriptor, path):
                return path, descriptor
        except BaseException:  # interrupted
            path.unlink(missing_ok=True)
            raise


def _sweep(target: Path) -> None:
    """Remove what killed writers of the same file left, and nothing of living ones."""
    left = re.compile(re.escape(_prefix(target)) + "[0-9a-f]{8}")
    with contextlib.suppress(OSError):  # a folder that may be written and not read
        for entry in list(os.scandir(target.parent)):
            if left.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                with locks.abandoned(Path(entry.path)) as ended, contextlib.suppress(OSError):
                    if ended:
                        Path(entry.path).unlink()
