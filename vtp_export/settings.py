"""Settings that people write as KEY=VALUE: of pruners, and options of formats. Standard library only."""

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

from vtp_export.errors import SpecError, UnknownNameError

Record = TypeVar("Record")


def from_settings(kind: type[Record], settings: Mapping[str, Any], what: str = "setting") -> Record:
    """Build a frozen dataclass from texts or values by name, checked against its fields.

    Args:
        kind: the dataclass; fields that are not named keep their defaults.
        settings: by field.
        what: one of them is called in messages.

    Example:
        >>> import dataclasses
        >>> from_settings(dataclasses.make_dataclass("Options", [("graphs", bool, False)]), {"graphs": "true"})
        Options(graphs=True)

    Raises:
        UnknownNameError: no such setting; names the nearest.
        SpecError: a value of the wrong type.
    """
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for name in settings:
        if name not in fields:
            raise UnknownNameError(what, name, sorted(fields))
    kinds = {name: getattr(field.type, "__name__", str(field.type)) for name, field in fields.items()}
    return kind(**{name: _parsed(f"{what} {name}", kinds[name], value) for name, value in settings.items()})


def _parsed(name: str, kind: str, value: Any) -> Any:
    """Read text as the field's annotated type; pass other values through the same check."""
    text = str(value).strip()
    options = [option.strip() for option in kind.split("|")]
    if "None" in options and text.lower() in ("none", ""):
        return None
    if "bool" in options:
        if text.lower() in ("true", "false"):
            return text.lower() == "true"
        raise SpecError(f"{name} is '{text}'; it must be true or false")
    for option, convert in (("int", int), ("float", float)):
        if option in options:
            try:
                return convert(text)
            except ValueError:
                raise SpecError(f"{name} is '{text}'; it must be {_article(option)}") from None
    return text


def _article(option: str) -> str:
    return "a whole number" if option == "int" else "a number"
