"""The folder is the registry: one file per pruner, model family, backend and benchmark.

A name on the command line is a file name. Nothing is imported until it is asked for, so a machine
without torch can list the pruners without paying for them.
"""

import importlib
import pkgutil
from pathlib import Path
from types import ModuleType

from vtp_export.errors import UnknownNameError

PACKAGE = Path(__file__).parent


def names(room: str) -> list[str]:
    """Names on offer in `room`, sorted: all files but `base` and those whose name begins with `_`.

    Example:
        >>> "adaptive" in names("pruners")
        True
    """
    found = (module.name for module in pkgutil.iter_modules([str(PACKAGE / room)]))
    return sorted(name for name in found if name != "base" and not name.startswith("_"))


def load(room: str, name: str) -> ModuleType:
    """Import `vtp_export.room.name`.

    Raises:
        UnknownNameError: no such file. The message lists the names that exist.
    """
    if name not in names(room):
        raise UnknownNameError(room.removesuffix("s"), name, names(room))
    return importlib.import_module(f"vtp_export.{room}.{name}")
