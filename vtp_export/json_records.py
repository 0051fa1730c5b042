"""Frozen dataclasses to JSON and back, strictly. Standard library only.

JSON has sorted keys; an unknown, missing or ill-typed key is an error that names its place, so that a record of another
tool or of another version is never half understood.
"""

import dataclasses
import json
import types
import typing
from typing import Any, TypeVar

from vtp_export.errors import SpecError

Record = TypeVar("Record")


def to_json(value: Any) -> str:
    """Canonical JSON of a dataclass: sorted keys, two spaces, a newline at the end."""
    return json.dumps(dataclasses.asdict(value), indent=2, sort_keys=True, allow_nan=False) + "\n"


def from_json(kind: type[Record], text: str, what: str, schema: int, remedy: str) -> Record:
    """Read a record.

    Args:
        kind: a dataclass with a field `schema`.
        text: JSON.
        what: the record's name in messages.
        schema: the number that is read.
        remedy: what to do about another number.

    Raises:
        SpecError: not JSON, another schema, or a key that is unknown, missing or of the wrong type.
    """
    try:
        raw = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise SpecError(f"the {what} is not JSON: {error}") from error
    if not isinstance(raw, dict) or "schema" not in raw:
        raise SpecError(f"the {what} has no 'schema' number; it was not written by vtp-export")
    written = raw["schema"]
    if type(written) is not int or written != schema:
        earlier = type(written) is int and written < schema
        origin = "made by an earlier version" if earlier else "not made by this version"
        raise SpecError(f"the {what} has schema {written!r} and schema {schema} is read here: {origin}; {remedy}")
    record: Record = _decode(kind, raw, what)
    return record


def _refuse_constant(name: str) -> Any:
    """`NaN` and `Infinity` are Python's own addition to JSON; `to_json` never writes them."""
    raise ValueError(f"{name} is not a JSON number")


def _decode(kind: Any, value: Any, where: str) -> Any:
    """Turn parsed JSON into `kind`, strictly."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        return _decode_dataclass(kind, value, where)
    if origin is tuple and isinstance(value, list) and (... in arguments or len(value) == len(arguments)):
        kinds = [arguments[0]] * len(value) if ... in arguments else arguments
        return tuple(_decode(kinds[i], item, f"{where}[{i}]") for i, item in enumerate(value))
    if origin is dict and isinstance(value, dict):
        return {key: _decode(arguments[1], item, f"{where}.{key}") for key, item in value.items()}
    if origin in (types.UnionType, typing.Union):
        for option in arguments:
            try:
                return _decode(option, value, where)
            except SpecError:
                continue
    elif origin is typing.Literal and value in arguments:
        return value
    elif kind is float and type(value) in (int, float):
        return float(value)
    elif isinstance(kind, type) and type(value) is kind:
        return value
    raise SpecError(f"{where} is {value!r}, which is not {kind}")


def _decode_dataclass(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise SpecError(f"{where} is {value!r}, which is not a {kind.__name__}")
    hints = typing.get_type_hints(kind)
    if unknown := sorted(set(value) - set(hints)):
        raise SpecError(f"{where} has the unknown key '{unknown[0]}'; expected {', '.join(sorted(hints))}")
    if missing := sorted(set(hints) - set(value)):
        raise SpecError(f"{where} lacks the key '{missing[0]}'")
    return kind(**{key: _decode(hints[key], item, f"{where}.{key}") for key, item in value.items()})
