"""Every error this package raises on purpose. The command line prints its sentence and exits with code 2.

VtpError
├── SpecError            a setting, a manifest or another written value is wrong
│   └── UnknownNameError     no pruner, model, backend or benchmark of that name
├── ModelError           a checkpoint is absent, damaged or of a kind that is not supported
├── ImageError           an image or a pixel tensor cannot be used
├── ArtefactError        an artefact is absent, damaged, of another schema, or already there
├── UnavailableError     a library that this needs is not installed; says how to install it
└── ExportError          a backend could not turn the graph into a file

ContractError is no VtpError: a file of this package broke the contract of its room, and no user can mend that.
"""

import difflib
import reprlib
from collections.abc import Sequence
from typing import Any

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 80
_SHORT.maxlong = 40


def shown(value: Any) -> str:
    """A value from elsewhere as a message shows it: printable, on one line, and short whatever it is.

    Example:
        >>> shown(list(range(1000)))
        '[0, 1, 2, 3, 4, 5, ...]'
    """
    return _SHORT.repr(value)


class VtpError(Exception):
    """The root: one sentence that says what was wrong, the value received, and what would be right."""


class SpecError(VtpError):
    """A setting, a manifest or another written value is wrong."""


class UnknownNameError(SpecError):
    """A name is not among those on offer.

    Args:
        kind: what was looked for, for example "pruner".
        name: what the user wrote.
        choices: every name that would be right.
    """

    def __init__(self, kind: str, name: str, choices: Sequence[str]) -> None:
        near = difflib.get_close_matches(name, choices, n=1, cutoff=0.5)
        hint = f"did you mean '{near[0]}'? " if near else ""
        super().__init__(f"no {kind} named '{name}'; {hint}choose one of: {', '.join(choices) or '(none)'}")
        self.kind, self.name, self.choices = kind, name, tuple(choices)


class ModelError(VtpError):
    """A checkpoint is absent, damaged or of a kind that is not supported."""


class ImageError(VtpError):
    """An image or a pixel tensor cannot be used."""


class ArtefactError(VtpError):
    """An artefact is absent, damaged, of another schema, or already there."""


class UnavailableError(VtpError):
    """A library that this needs is not installed."""


class ExportError(VtpError):
    """A backend could not turn the graph into a file."""


class ContractError(Exception):
    """A pruner, a model or a format of this package does not do what the contract of its room asks; says which."""
