"""JSON in and out. What others wrote is read within bounds; our own records are read strictly. Standard library only.

Our JSON has sorted keys; an unknown, missing, repeated or ill-typed key is an error that names its place, so that a
record of another tool or of another version is never half understood. And it is sealed: it carries a digest of all that
it says, so that what a disk, a copy or an editor has changed is not believed. A seal is no signature.
"""

import dataclasses
import functools
import hashlib
import json
import math
import stat
import types
import typing
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from vtp_export.errors import SpecError, shown

Record = TypeVar("Record")

SEAL = "seal"
"""Under this key a record carries the `seal` of its other keys."""

MAX_BYTES = 8 << 20
"""Of a JSON file, where the caller knows no other bound: the largest configurations in use are a tenth of it."""

MAX_LINE = 1 << 26
"""Of a line of JSON, where each line is a record."""

MAX_DEPTH = 100
"""Of lists and objects inside one another, so that whatever walks over the value may do so by recursion."""

SAFE_DIGITS = 308
"""A whole number with no more digits is within the range of float64."""


def json_lines(path: Path) -> Iterator[tuple[Any, int]]:
    """What each line of a file says, and at which byte it ends; a last one that was cut short is passed over.

    Raises:
        SpecError: no regular file, or a line is no JSON.
        OSError: it cannot be read.
    """
    if not path.is_file():
        raise SpecError("it is no regular file")
    with path.open("rb") as file:
        for number, line in enumerate(iter(lambda: file.readline(MAX_LINE), b""), 1):
            if not line.endswith(b"\n"):
                return
            try:
                value = parse_json(line.decode(), f"line {number}")
            except UnicodeDecodeError as error:
                raise SpecError(f"line {number} is not UTF-8") from error
            yield value, file.tell()


def read_text(path: Path, what: str, limit: int = MAX_BYTES) -> str:
    """A small text file, which may come from anywhere.

    Args:
        path: the file.
        what: names it in messages, as in "the manifest 'a/manifest.json'".
        limit: the most bytes to read.

    Raises:
        SpecError: absent, no regular file (a pipe or a device would never end), too large, or not UTF-8.
    """
    try:
        said = path.stat()
        if not stat.S_ISREG(said.st_mode):
            raise SpecError(f"{what} cannot be read: it is no regular file")
        with path.open("rb") as file:
            content = b"" if said.st_size > limit else file.read(limit + 1)
        if max(said.st_size, len(content)) > limit:  # it may grow, and some file systems tell no size
            raise SpecError(f"{what} cannot be read: it has more than {limit:,} bytes")
        return content.decode("utf-8")
    except OSError as error:
        raise SpecError(f"{what} cannot be read: {error.strerror or error}") from error
    except ValueError as error:  # not UTF-8, or a path that no file system can have
        raise SpecError(f"{what} cannot be read: {error}") from error


def parse_json(text: str, what: str, unique: bool = False, keep: Collection[str] | None = None) -> Any:
    """JSON that anybody may have written.

    Whole numbers beyond the range of float64 become infinite, as `1e999` does, and `NaN` and `Infinity` are let
    through as Python writes them: who uses a number holds it to its bounds.

    Args:
        text: the JSON.
        what: names it in messages.
        unique: refuse a key that stands twice in one object; otherwise the last one counts.
        keep: the keys that are kept of any object, so that a large file takes little; None for all.

    Raises:
        SpecError: not JSON, nested too deep, or a text with half a character (a lone surrogate), which can be neither
            printed nor a file's name.

    Example:
        >>> parse_json('{"size": 1' + 400 * "0" + "}", "the file")
        {'size': inf}
    """
    pairs = functools.partial(_unique_keys, what) if unique else None
    if keep is not None:
        pairs = functools.partial(_kept_keys, keep)
    try:
        value = json.loads(text, parse_int=_whole_number, object_pairs_hook=pairs)
    except RecursionError as error:
        raise SpecError(f"{what} is nested more than {MAX_DEPTH} deep") from error
    except ValueError as error:
        raise SpecError(f"{what} is not JSON: {error}") from error
    _check(value, what)
    return value


def read_json(path: Path, what: str, limit: int = MAX_BYTES, keep: Collection[str] | None = None) -> Any:
    """`parse_json` of `read_text`."""
    return parse_json(read_text(path, what, limit), what, keep=keep)


def _whole_number(digits: str) -> int | float:
    return int(digits) if len(digits) <= SAFE_DIGITS else float(digits)


def _unique_keys(what: str, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise SpecError(f"{what} has the key {shown(twice)} twice in one object")
    return value


def _kept_keys(keep: Collection[str], pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return {key: value for key, value in pairs if key in keep}


def _check(value: Any, what: str, path: tuple[Any, ...] = ()) -> None:
    """Hold parsed JSON to `MAX_DEPTH` and its texts to Unicode. `path`: keys that lead to the value."""
    if len(path) >= MAX_DEPTH:
        raise SpecError(f"{what} is nested more than {MAX_DEPTH} deep")
    items: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    for key, item in items:
        if any(isinstance(text, str) and not _is_unicode(text) for text in (key, item)):
            place = ".".join(map(str, (*path, key)))
            raise SpecError(f"{what} has half a character (a lone surrogate) at {shown(place)}")
        if isinstance(item, dict | list):
            _check(item, what, (*path, key))


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def as_unicode(text: str) -> str:
    r"""A name, which may be no UTF-8 on a file system, as a record can hold it: what is read back is what was written.

    Example:
        >>> as_unicode("photo-\udcff.jpg") == r"photo-\udcff.jpg"
        True
    """
    return text.encode("utf-8", "backslashreplace").decode()


def canonical(value: Any, allow_nan: bool = False) -> str:
    """JSON with sorted keys, two spaces and a newline at the end: the same text for the same value.

    Raises:
        ValueError: it holds a number that is not finite, and these are not allowed.
    """
    return json.dumps(value, indent=2, sort_keys=True, allow_nan=allow_nan) + "\n"


def seal(keys: Mapping[str, Any]) -> str:
    """SHA-256 of what a record says, all its keys but `SEAL`; how its JSON is laid out does not matter."""
    return hashlib.sha256(canonical(dict(keys), allow_nan=True).encode()).hexdigest()


def digest_of(record: Any) -> str:
    """SHA-256 of all that a dataclass says."""
    return seal(dataclasses.asdict(record))


def to_json(record: Any) -> str:
    """Canonical JSON of a dataclass, sealed.

    Raises:
        ValueError: it holds a number that is not finite.
    """
    keys = dataclasses.asdict(record)
    return canonical({**keys, SEAL: seal(keys)})


def from_json(kind: type[Record], text: str, what: str, schema: int, remedy: str) -> Record:
    """Read a record.

    Args:
        kind: a dataclass with a field `schema`.
        text: JSON.
        what: the record's name in messages.
        schema: the number that is read.
        remedy: what to do about another number, or a record that is none of this version.

    Raises:
        SpecError: not JSON, another schema, changed since it was written, or a key that is unknown, missing, repeated
            or of the wrong type.
    """
    raw = parse_json(text, f"the {what}", unique=True)
    if not isinstance(raw, dict) or "schema" not in raw:
        raise SpecError(f"the {what} has no 'schema' number; it was not written by vtp-export")
    written = raw["schema"]
    if type(written) is not int or written != schema:
        earlier = type(written) is int and written < schema
        origin = "made by an earlier version" if earlier else "not made by this version"
        raise SpecError(f"the {what} has schema {shown(written)} and schema {schema} is read here: {origin}; {remedy}")
    written = raw.pop(SEAL, None)
    if written != seal(raw):
        changed = "was changed after it was written: its seal does not fit" if written else "has no seal"
        raise SpecError(f"the {what} {changed}; take an unchanged copy, or {remedy}")
    try:
        record: Record = decode(kind, raw, what)
    except SpecError as error:
        raise SpecError(f"{error}; {remedy}") from error
    return record


def decode(kind: Any, value: Any, where: str) -> Any:
    """Turn parsed JSON into `kind`, strictly.

    Args:
        kind: a dataclass, a tuple or dict of a kind, a union, a `Literal` or a plain type.
        value: what was parsed.
        where: names the value in messages.

    Raises:
        SpecError: a key that is unknown or missing, or a value of the wrong type.
    """
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        return _decode_dataclass(kind, value, where)
    if origin is tuple and isinstance(value, list) and (... in arguments or len(value) == len(arguments)):
        kinds = [arguments[0]] * len(value) if ... in arguments else arguments
        return tuple(decode(kinds[i], item, f"{where}[{i}]") for i, item in enumerate(value))
    if origin is dict and isinstance(value, dict):
        return {key: decode(arguments[1], item, f"{where}.{key}") for key, item in value.items()}
    if origin in (types.UnionType, typing.Union):
        for option in arguments:
            try:
                return decode(option, value, where)
            except SpecError:
                continue
    elif origin is typing.Literal and value in arguments:
        return value
    elif isinstance(kind, type) and _fits(kind, value):
        return float(value) if kind is float else value
    raise SpecError(f"{where} is {shown(value)}, which is not {kind}")


def _fits(kind: type, value: Any) -> bool:
    """A whole number may stand for a float; `to_json` writes no float that is not finite."""
    if kind is float:
        return type(value) in (int, float) and math.isfinite(value)
    return type(value) is kind


def _decode_dataclass(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise SpecError(f"{where} is {shown(value)}, which is not a {kind.__name__}")
    hints = typing.get_type_hints(kind)
    if unknown := sorted(set(value) - set(hints)):
        raise SpecError(f"{where} has the unknown key {shown(unknown[0])}; expected {', '.join(sorted(hints))}")
    if missing := sorted(set(hints) - set(value)):
        raise SpecError(f"{where} lacks the key '{missing[0]}'")
    return kind(**{key: decode(hints[key], item, f"{where}.{key}") for key, item in value.items()})
