"""Which packages are installed, in which version, without importing them."""

import importlib.metadata
import platform
import re
from collections.abc import Iterable

from vtp_export import __version__

RECORDED = ("torch", "onnx", "onnxscript", "safetensors", "numpy", "pillow")
"""Packages whose versions artefacts and records carry."""

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
