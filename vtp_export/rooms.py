"""The folder is the registry: one file per pruner, model family, backend and benchmark.

A name on the command line is a file name. Nothing is imported until it is asked for, so a machine
without torch can list the pruners without paying for them.
"""

import ast
import importlib
import pkgutil
import re
from pathlib import Path
from types import ModuleType

from vtp_export.errors import SpecError, UnknownNameError

PACKAGE = Path(__file__).parent

NOUNS = {"inllm": "method inside the language model"}
"""What a name of a room is called, where it is not the room's own name without its last letter."""


def names(room: str) -> list[str]:
    """Names on offer in `room`, sorted: all files but `base` and those whose name begins with `_`.

    Example:
        >>> "adaptive" in names("pruners")
        True
    """
    found = (module.name for module in pkgutil.iter_modules([str(PACKAGE / room)]))
    return sorted(name for name in found if name != "base" and not name.startswith("_"))


def docstring(room: str, name: str) -> str:
    """What a file says of itself, without importing it."""
    return ast.get_docstring(ast.parse((PACKAGE / room / f"{name}.py").read_text(encoding="utf-8"))) or ""


def unknown(room: str, name: str) -> SpecError:
    """What to say of a name that is not on offer.

    A method may be known by the name of its release: that is nearer than any spelling. One that prunes inside the
    language model is known, and no pruner of a front end.

    Example:
        >>> "did you mean 'dpp'?" in str(unknown("pruners", "CDPruner"))
        True
    """
    release = re.compile(rf"/{re.escape(str(name))}\b", re.IGNORECASE)  # as its repository is called: owner/name
    meant = next((one for one in names(room) if name and release.search(docstring(room, one))), None)
    inside = names("inllm") if room == "pruners" else []
    if name in inside:
        return SpecError(
            f"'{name}' prunes inside the language model, by attention of its layers, which a front end does not have: "
            f"nothing can export it; compare measures it (vtp-export compare MODEL --pruner {name}), and what can be "
            f"exported is one of: {', '.join(names(room))}"
        )
    return UnknownNameError(NOUNS.get(room, room.removesuffix("s")), name, names(room), meant)


def load(room: str, name: str) -> ModuleType:
    """Import `vtp_export.room.name`.

    Raises:
        UnknownNameError: no such file. The message lists the names that exist.
        SpecError: a method of another room, which cannot be used here.
    """
    if name not in names(room):
        raise unknown(room, name)
    return importlib.import_module(f"vtp_export.{room}.{name}")
