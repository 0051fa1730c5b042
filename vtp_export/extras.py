"""How to install what an optional part of this package needs."""

import importlib.metadata
import re

PACKAGE = "vtp-export"


def install(extra: str) -> str:
    """The command that installs the libraries of an extra, wherever this package itself came from.

    Args:
        extra: of `pyproject.toml`.

    Example:
        >>> install("lint")
        "pip install 'onnx>=1.16'"
    """
    try:
        declared = importlib.metadata.requires(PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:  # a clone that was put on the path
        declared = []
    named = re.compile(rf"""(\S+?)\s*;.*\bextra\s*==\s*['"]{re.escape(extra)}['"]""")
    libraries = [f"'{found[1]}'" for line in declared if (found := named.fullmatch(line))]
    return f"pip install {' '.join(libraries)}" if libraries else f"pip install '.[{extra}]' in a clone of {PACKAGE}"
