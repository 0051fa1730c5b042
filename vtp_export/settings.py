"""Settings that people write as KEY=VALUE: of pruners, and options of formats. Standard library only.

A setting is a field of a frozen dataclass, declared by `one_of`, `between`, `at_least` and their like with what it must
be and where its default comes from; `check` holds a record to that, `described` tells it.
"""

import dataclasses
import inspect
import math
import os
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from vtp_export.arguments import by_name, whole
from vtp_export.errors import SpecError, UnknownNameError, VtpWarning, shown

Record = TypeVar("Record")


def usable_threads(threads: int | None) -> int | None:
    """As many CPU threads as were asked for, or as are of any use here; None asks for no number.

    A runtime starts as many as it is told to: at hundreds for each CPU it takes minutes, beyond that the process dies.
    So a number that was chosen for a larger machine is cut, with a note.

    Raises:
        SpecError: no whole number, or less than 1.
    """
    if threads is None:
        return None
    asked, most = whole("threads", threads, 1), max(64, 4 * (os.cpu_count() or 1))
    if asked > most:
        sentence = f"threads is {shown(asked)}, and {most} are started: this machine has {os.cpu_count()} CPUs"
        warnings.warn(sentence, VtpWarning, stacklevel=3)
    return min(asked, most)


def from_settings(kind: type[Record], settings: Mapping[str, Any] | None, what: str = "setting") -> Record:
    """Build a frozen dataclass from texts or values by name, checked against its fields.

    Args:
        kind: the dataclass; fields that are not named keep their defaults.
        settings: by field; None for none.
        what: one of them is called in messages.

    Example:
        >>> import dataclasses
        >>> from_settings(dataclasses.make_dataclass("Options", [("graphs", bool, False)]), {"graphs": "true"})
        Options(graphs=True)

    Raises:
        UnknownNameError: no such setting; names the nearest.
        SpecError: no mapping, or a value of the wrong type.
    """
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    given = by_name("settings", settings)
    for name in given:
        if name not in fields:
            raise UnknownNameError(what, name, sorted(fields))
    kinds = {name: getattr(field.type, "__name__", str(field.type)) for name, field in fields.items()}
    return kind(**{name: _parsed(f"{what} {name}", kinds[name], value) for name, value in given.items()})


def shared_out(
    kinds: Mapping[str, type[Any]], settings: Mapping[str, Any] | None, what: str = "setting"
) -> dict[str, dict[str, Any]]:
    """Give each of several records the settings that it has.

    Args:
        kinds: dataclasses by name.
        settings: by field, for all of them; None for none.
        what: one of them is called in messages.

    Raises:
        UnknownNameError: none has such a setting; names the nearest.
        SpecError: no mapping.

    Example:
        >>> import dataclasses
        >>> kinds = {name: dataclasses.make_dataclass(name, [name, "keep"]) for name in ("step", "tau")}
        >>> shared_out(kinds, {"tau": 1, "keep": 8})
        {'step': {'keep': 8}, 'tau': {'tau': 1, 'keep': 8}}
    """
    fields = {name: {field.name for field in dataclasses.fields(kind)} for name, kind in kinds.items()}
    known = set().union(*fields.values())
    given = by_name("settings", settings)
    for key in given:
        if key not in known:
            raise UnknownNameError(what, key, sorted(known))
    return {name: {key: value for key, value in given.items() if key in own} for name, own in fields.items()}


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


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What can be known of a setting without using it.

    must_be: completes "it must be ...". source: where the default comes from. meaning: from its record's docstring.
    """

    name: str
    default: Any
    must_be: str
    source: str
    meaning: str


def setting(default: Any, must_be: str, allows: Callable[[Any], bool], source: str) -> Any:
    """A field with a rule of its own; None is let through where it is the default."""
    return dataclasses.field(default=default, metadata={"must_be": must_be, "allows": allows, "source": source})


def one_of(default: str, *choices: str, source: str) -> Any:
    """A field that is one of these words."""
    return setting(default, f"one of: {', '.join(choices)}", lambda value: value in choices, source)


def either(default: bool, source: str) -> Any:
    """A field that is true or false."""
    return setting(default, "true or false", lambda value: isinstance(value, bool), source)


def between(default: float | None, low: float, high: float, source: str) -> Any:
    """A number from `low` to `high`, both included."""
    return setting(default, f"between {low} and {high}", lambda value: low <= value <= high, source)


def at_least(default: float | None, low: float, source: str) -> Any:
    """A finite number not below `low`."""
    return setting(default, f"at least {low}", lambda value: math.isfinite(value) and value >= low, source)


def positive(default: float | None, source: str) -> Any:
    """A finite number above 0."""
    return setting(default, "a positive number", lambda value: math.isfinite(value) and value > 0, source)


def number(default: float | None, source: str) -> Any:
    """Any finite number."""
    return setting(default, "a number", math.isfinite, source)


def check(record: Any) -> None:
    """Hold every setting of a record to its rule.

    Raises:
        SpecError: the first that breaks it.
    """
    for field in dataclasses.fields(record):
        value, allows = getattr(record, field.name), field.metadata.get("allows")
        left_out = value is None and field.default is None
        if allows is not None and not left_out and not allows(value):
            raise SpecError(f"setting {field.name} is {value!r}; it must be {field.metadata['must_be']}")


ENTRY = re.compile(r"^(\w+(?:, \w+)*): ((?:.|\n(?! *\w+(?:, \w+)*: |$))*)", re.MULTILINE)
"""In a docstring: names of settings, then their meaning up to the next one."""


def described(kind: type[Any]) -> tuple[Setting, ...]:
    """The settings of a record, in order. The most derived docstring that speaks of one tells its meaning."""
    meanings: dict[str, str] = {}
    for base in kind.__mro__[:-1]:
        for names, text in ENTRY.findall(inspect.cleandoc(base.__doc__ or "")):
            for name in names.split(", "):
                meanings.setdefault(name, " ".join(text.split()))
    return tuple(
        Setting(
            name=field.name,
            default=field.default,
            must_be=field.metadata["must_be"],
            source=field.metadata["source"],
            meaning=meanings[field.name],
        )
        for field in dataclasses.fields(kind)
    )
