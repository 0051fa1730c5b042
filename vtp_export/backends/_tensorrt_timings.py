"""Timings of kernels that TensorRT keeps from one build to the next, in a file that many processes share."""

import os
from pathlib import Path
from typing import Any

from vtp_export.runtime import cuda
from vtp_export.runtime.replacing import locked
from vtp_export.runtime.writing import atomically


def cache_file(version: str) -> Path:
    """Where they are kept, for one TensorRT version on one kind of GPU."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vtp-export"
    return home / f"timings-tensorrt-{version}-sm{cuda.compute_capability().replace('.', '')}.cache"


def _read(cache: Path) -> bytes:
    try:
        return cache.read_bytes()
    except OSError:
        return b""


def use_timings(config: Any, cache: Path) -> None:
    """Give a builder's configuration those of earlier builds, or none where they are damaged or of another GPU."""
    for known in (_read(cache), b""):
        timings = config.create_timing_cache(known)
        if timings is not None and config.set_timing_cache(timings, False):
            return


def merge_timings(config: Any, cache: Path) -> None:
    """Add those of a build to what other builds have written in the meantime.

    Raises:
        ArtefactError, OSError: they cannot be written.
    """
    cache.parent.mkdir(parents=True, exist_ok=True)
    with locked(cache.parent):
        mine = config.get_timing_cache()
        others = config.create_timing_cache(_read(cache))
        if others is not None:
            mine.combine(others, False)
        with atomically(cache) as file:
            file.write(bytes(mine.serialize()))
