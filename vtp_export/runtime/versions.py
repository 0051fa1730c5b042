"""Which packages are installed, in which version, without importing them."""

import importlib.metadata
import platform
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from vtp_export import __version__

RECORDED = ("torch", "onnx", "onnxscript", "safetensors", "numpy", "pillow")
"""Packages whose versions artefacts and records carry."""

CORE = ("numpy", "pillow", "typer", "rich")
"""What this package needs everywhere."""

TENSORRT_PACKAGES = ("tensorrt", "tensorrt-cu13", "tensorrt-cu12")
"""Under one of these names pip installs TensorRT."""


def version(package: str) -> str | None:
    """Of an installed package, or None."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Of those that are installed, by package."""
    return {package: number for package in packages if (number := version(package)) is not None}


def is_older(number: str, than: str) -> bool:
    """Whether a release came before another, by the numbers in front.

    Example:
        >>> is_older("2024.10.1rc2", "2024.9"), is_older("1.5.0+cpu", "1.5")
        (False, False)
    """
    first, second = (re.match(r"\d+(\.\d+)*", text) for text in (number, than))
    assert first is not None and second is not None
    return [int(part) for part in first[0].split(".")] < [int(part) for part in second[0].split(".")]


def built_by() -> dict[str, str]:
    """Versions of what makes artefacts and records here."""
    return {"vtp-export": __version__, "python": platform.python_version(), **versions(RECORDED)}


def install_bytes(packages: Sequence[str]) -> int | None:
    """Room on the disk that packages take, with all that they need beyond the core install.

    Args:
        packages: by name; those that are not installed take none.

    Returns:
        None where none is installed, or an installer kept no list of its files, as a system's often does.
    """
    sizes = [_size(package) for package in _with_needs(packages) - _with_needs(CORE)]
    return sum(size for size in sizes if size is not None) if sizes and None not in sizes else None


def _size(package: str) -> int | None:
    listed = importlib.metadata.files(package)
    if listed is None:
        return None
    paths = (Path(str(one.locate())) for one in listed)
    return sum(path.stat().st_size for path in paths if path.is_file())


def _with_needs(packages: Iterable[str]) -> set[str]:
    """Those that are installed, and of what they need, without extras, what is installed too."""
    needed: set[str] = set()
    ahead = list(packages)
    while ahead:
        package = re.sub(r"[-_.]+", "-", ahead.pop()).lower()
        if package in needed or version(package) is None:
            continue
        needed.add(package)
        for line in importlib.metadata.requires(package) or ():
            named, _, marker = line.partition(";")
            if re.search(r"\bextra\b", marker) is None and (found := re.match(r"[\w.-]+", named)):
                ahead.append(found[0])
    return needed
