"""Write a file so that a reader finds the old bytes or the new ones, whole, whatever happens to the writer.

For folders see `replacing.py`.
"""

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from vtp_export.errors import ArtefactError

UNSUPPORTED = {errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EPERM}  # EPERM: a sandbox's way to say so


@contextmanager
def atomically(path: Path) -> Iterator[BinaryIO]:
    """A file beside `path`, open for writing, that takes its place when the block ends well.

    Raises:
        ArtefactError: the file cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync(path.parent)
    except OSError as error:
        raise ArtefactError(sentence(error, path)) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_atomically(path: Path, text: str) -> None:
    """Replace a text file, in UTF-8.

    Raises:
        ArtefactError: the file cannot be written.
    """
    with atomically(path) as file:
        file.write(text.encode("utf-8"))


def sync(path: Path) -> None:
    """Bring a file or a folder to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in UNSUPPORTED:  # some file systems cannot flush a folder
            raise
    finally:
        os.close(descriptor)


def sentence(error: OSError, out: Path) -> str:
    """What failed, why, and how much room there is."""
    existing = out
    free = ""
    with contextlib.suppress(OSError, ValueError):
        while not os.path.exists(existing):  # noqa: PTH110 (Path.exists raises where a name is too long)
            existing = existing.parent
        megabytes = shutil.disk_usage(existing).free / 1e6
        amount = f"{megabytes / 1e3:.1f} GB" if megabytes >= 1e3 else f"{megabytes:.1f} MB"
        free = f" ({amount} are free there)"
    reason = error.strerror or str(error)
    return f"cannot write '{out}': {reason}{free}; free some space, or name a folder that can be written"
