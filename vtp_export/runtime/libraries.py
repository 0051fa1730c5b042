"""Shared libraries: what a file is linked to, and whether the loader of this machine finds it. Standard library only.

A plugin that cannot be loaded often fails without a word, and loading it to find out may leave it half initialised.
Its dependencies can be asked one by one instead, and harmlessly.
"""

import ctypes
import struct
from pathlib import Path

from vtp_export.errors import ArtefactError

PT_LOAD, PT_DYNAMIC = 1, 2
DT_NULL, DT_NEEDED, DT_STRTAB = 0, 1, 5


def needed(path: Path) -> tuple[str, ...]:
    """Names of the libraries that an ELF file (64 bit, little endian: x86-64, aarch64) is linked to.

    Raises:
        ArtefactError: it cannot be read, or is no such file.
    """
    try:
        with path.open("rb") as file:
            return _needed(file.read())
    except (OSError, struct.error, IndexError, ValueError) as error:
        raise ArtefactError(f"'{path}' cannot be read as a shared library: {error}") from error


def _needed(data: bytes) -> tuple[str, ...]:
    if data[:6] != b"\x7fELF\x02\x01":
        raise ValueError("it is not a 64-bit little-endian ELF file")
    (start,) = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    segments = [struct.unpack_from("<IIQQQQ", data, start + i * size) for i in range(count)]
    entries = []
    for kind, _, offset, _, _, length in segments:
        if kind == PT_DYNAMIC:
            entries = list(struct.iter_unpack("<qQ", data[offset : offset + length - length % 16]))
    tags = [tag for tag, _ in entries]
    entries = entries[: tags.index(DT_NULL)] if DT_NULL in tags else entries
    if not any(tag == DT_STRTAB for tag, _ in entries):
        return ()
    table = _file_offset(segments, next(value for tag, value in entries if tag == DT_STRTAB))
    starts = [table + value for tag, value in entries if tag == DT_NEEDED]
    return tuple(data[at : data.index(b"\0", at)].decode() for at in starts)


def _file_offset(segments: list[tuple[int, ...]], address: int) -> int:
    for kind, _, offset, virtual, _, length in segments:
        if kind == PT_LOAD and virtual <= address < virtual + length:
            return offset + address - virtual
    raise ValueError("its string table lies in no segment")


def why_not_loadable(name: str) -> str | None:
    """What the loader says of a library (a name such as "libcuda.so.1", or a path); None if it loads."""
    try:
        ctypes.CDLL(name)
    except OSError as error:
        return str(error)
    return None


def not_loadable(path: Path) -> dict[str, str]:
    """The libraries that a file is linked to and that do not load here, with what the loader says of each.

    Raises:
        ArtefactError: as `needed`.
    """
    reasons = {name: why_not_loadable(name) for name in needed(path)}
    return {name: reason for name, reason in reasons.items() if reason is not None}
