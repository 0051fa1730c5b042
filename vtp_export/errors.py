"""Every error this package raises on purpose. The command line prints its sentence and exits with code 2.

VtpError
├── SpecError            a setting, a manifest or another written value is wrong
│   └── UnknownNameError     no pruner, model, backend or benchmark of that name
├── ModelError           a checkpoint is absent, damaged or of a kind that is not supported
├── ImageError           an image or a pixel tensor cannot be used
├── OutputError          a model gave numbers for an image that are not finite
├── ArtefactError        an artefact is absent, damaged, of another schema, or already there
├── UnavailableError     a library that this needs is not installed; says how to install it
└── ExportError          a backend could not turn the graph into a file

ContractError is no VtpError: a file of this package broke the contract of its room, and no user can mend that.
VtpWarning is a note: it went well, and something may not be as it was meant.
"""

import difflib
import reprlib
import unicodedata
from collections.abc import Sequence
from typing import Any

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 80
_SHORT.maxlong = 40

LONGEST_REASON = 400
"""Characters of a library's own words in a sentence of ours."""


def shown(value: Any) -> str:
    """A value from elsewhere as a message shows it: printable, on one line, and short whatever it is.

    Example:
        >>> shown(list(range(1000)))
        '[0, 1, 2, 3, 4, 5, ...]'
    """
    return _SHORT.repr(value)


def printable(text: str) -> str:
    r"""A text with a name from elsewhere in it, as one line that a terminal shows and does not obey.

    Example:
        >>> printable("no file 'a\nb\x1b[1m'") == r"no file 'a\nb\x1b[1m'"
        True
    """
    return "".join(c if c.isprintable() or unicodedata.category(c) == "Zs" else repr(c)[1:-1] for c in text)


def first_line(error: BaseException) -> str:
    r"""What a library says of its failure: the first line, short however long the names in it are.

    Where that ends in a colon, what it announces is on the next one.

    Example:
        >>> first_line(ValueError("no such tensor\nTraceback follows")), first_line(KeyError())
        ('no such tensor', 'KeyError')
    """
    lines = [text for line in str(error).splitlines() if (text := line.strip())] or [type(error).__name__]
    line = " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]
    return line if len(line) <= LONGEST_REASON else f"{line[: LONGEST_REASON // 2]}...{line[-LONGEST_REASON // 2 :]}"


class VtpError(Exception):
    """The root: one sentence that says what was wrong, the value received, and what would be right."""

    def __str__(self) -> str:
        """On one line, whatever the names in it are."""
        return printable(super().__str__())


class SpecError(VtpError):
    """A setting, a manifest or another written value is wrong."""


class UnknownNameError(SpecError):
    """A name is not among those on offer.

    Args:
        kind: what was looked for, for example "pruner".
        name: what the user wrote; from Python it may be no text.
        choices: every name that would be right.
        meant: which of them it must be, where that is known better than by spelling.
    """

    def __init__(self, kind: str, name: str, choices: Sequence[str], meant: str | None = None) -> None:
        written = name if isinstance(name, str) else ""
        near = [meant] if meant else difflib.get_close_matches(written, choices, n=1, cutoff=0.5)
        hint = f"did you mean '{near[0]}'? " if near else ""
        super().__init__(f"no {kind} named {shown(name)}; {hint}choose one of: {', '.join(choices) or '(none)'}")
        self.kind, self.name, self.choices, self.meant = kind, name, tuple(choices), meant

    def __reduce__(self) -> Any:
        """For another process."""
        return type(self), (self.kind, self.name, self.choices, self.meant)


class ModelError(VtpError):
    """A checkpoint is absent, damaged or of a kind that is not supported."""


class ImageError(VtpError):
    """An image or a pixel tensor cannot be used."""


class OutputError(VtpError):
    """A model gave numbers for an image that are not finite, so nothing of that image can be used.

    Args:
        output: the first output that is not finite.
        images: positions in the batch, ascending, at least one.
        names: of all images of the batch, where they are known.
        unseen: whether nobody looked at the pixels, which may be what is not finite.
    """

    def __init__(self, output: str, images: Sequence[int], names: Sequence[str] = (), unseen: bool = False) -> None:
        told = [f"'{names[i]}'" for i in images] if names else [f"image {i} of the batch" for i in images]
        more = f" and of {len(told) - 1} more" if len(told) > 1 else ""
        super().__init__(
            f"'{output}' of {told[0]}{more} is not finite (NaN or infinite), and nothing of it can be used; "
            + ("look whether its pixels are finite, which was left to the caller; if they are, " if unseen else "")
            + "a narrow precision overflows on such a picture: export with it among the range images, or in fp32; "
            "in fp32 the weights are damaged"
        )
        self.output, self.images, self.names, self.unseen = output, tuple(images), tuple(names), unseen

    def __reduce__(self) -> Any:
        """For another process."""
        return type(self), (self.output, self.images, self.names, self.unseen)

    def named(self, names: Sequence[str]) -> "OutputError":
        """The same, with the names of the batch's images."""
        return OutputError(self.output, self.images, names, self.unseen)

    def of_unseen_pixels(self) -> "OutputError":
        """The same, of pixels that nobody looked at."""
        return OutputError(self.output, self.images, self.names, unseen=True)


class ArtefactError(VtpError):
    """An artefact is absent, damaged, of another schema, or already there."""


class UnavailableError(VtpError):
    """A library that this needs is not installed."""


class ExportError(VtpError):
    """A backend could not turn the graph into a file."""


class ContractError(Exception):
    """A pruner, a model or a format of this package does not do what the contract of its room asks; says which."""


class VtpWarning(UserWarning):
    """A note: it went well, and something may not be as it was meant."""
