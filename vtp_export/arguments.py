"""What the functions of this package are given, held to its kind. Standard library only.

What comes from elsewhere as text (settings, manifests) is read by `settings` and `json_records`.
"""

import operator
import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from vtp_export.errors import SpecError, shown


def path_of(what: str, value: Any) -> Path:
    """The path of a file or a folder.

    Raises:
        SpecError: neither text nor a path, or an empty text, which the system takes for the current folder.

    Example:
        >>> path_of("the artefact", "llava64").name
        'llava64'
    """
    text = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    if not isinstance(text, str):
        raise SpecError(f"{what} is {shown(value)}; the path of one was expected, text or Path")
    if not text:
        raise SpecError(f"{what} is named by an empty text; name a path ('.' is the current folder)")
    return Path(text)


def kind_of(what: str, path: str | os.PathLike[str]) -> Literal["folder", "file"] | None:
    """What has a name; None where nothing has it, nothing could, or it is a pipe or a device.

    Raises:
        SpecError: the folder that it would be in may not be looked into.
    """
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 (takes what is given)
    except PermissionError as error:
        raise SpecError(f"{what} '{os.fspath(path)}' cannot be read: {error.strerror}") from error
    except (OSError, ValueError):
        return None
    return "folder" if stat.S_ISDIR(mode) else "file" if stat.S_ISREG(mode) else None


def whole(what: str, value: Any, low: int, high: int | None = None) -> int:
    """A whole number, of NumPy's too.

    Raises:
        SpecError: it is none, or out of range.

    Example:
        >>> whole("batch", 0, 1, 16)
        Traceback (most recent call last):
        vtp_export.errors.SpecError: batch is 0; it must be 1 to 16
    """
    limits = f"at least {low}" if high is None else f"{low} to {high}"
    try:
        number = operator.index(value)
    except TypeError:
        raise SpecError(f"{what} is {shown(value)}; it must be a whole number, {limits}") from None
    if isinstance(value, bool) or number < low or (high is not None and number > high):
        raise SpecError(f"{what} is {shown(value)}; it must be {limits}")
    return number


def by_name(what: str, value: Any) -> dict[str, Any]:
    """Values by their names; nothing is as good as none.

    Args:
        what: several of them, in messages.
        value: what was given.

    Raises:
        SpecError: no mapping, or a name that is no text.

    Example:
        >>> by_name("settings", [("tau", 0.1)])
        Traceback (most recent call last):
        vtp_export.errors.SpecError: settings are [('tau', 0.1)]; a mapping was expected, of names that are text
    """
    given = value or {}
    if not isinstance(given, Mapping) or not all(isinstance(name, str) for name in given):
        raise SpecError(f"{what} are {shown(value)}; a mapping was expected, of names that are text")
    return dict(given)


def one_or_several(value: Any) -> tuple[Any, ...]:
    """Several names, numbers or paths; a single one stands for itself and not for its letters.

    Example:
        >>> one_or_several("onnx"), one_or_several(["onnx", "pt2"])
        (('onnx',), ('onnx', 'pt2'))
    """
    if isinstance(value, str | os.PathLike) or not isinstance(value, Iterable):
        return (value,)
    return tuple(value)
