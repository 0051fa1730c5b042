"""The pictures of a golden record: small ones, so that what is kept of them is all that there ever was."""

import functools
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vtp_export.benchmarks._lookup import benchmark_of
from vtp_export.benchmarks.base import Benchmark
from vtp_export.benchmarks.photos import Benchmark as Photos
from vtp_export.benchmarks.shapes import Benchmark as Shapes
from vtp_export.runtime.images import rgb_from_image

SIDE = 256
"""Longest side, in pixels."""


@dataclass(frozen=True)
class Original:
    """A picture's name, and the bytes of a PNG or JPEG file with their ending."""

    name: str
    ending: str
    content: bytes


def originals(source: str | Path | None, count: int) -> tuple[Original, ...]:
    """The first pictures of a data set, made small.

    Args:
        source: a benchmark or a folder; None for photographs without a licence, or drawn scenes where those are not
            installed.
        count: at most so many; 0 for none.

    Raises:
        VtpError: the data set, or one of its pictures, cannot be used.
    """
    if count < 1:
        return ()
    if source is None:
        return _usual(count)
    return _small(benchmark_of(source), count)


def shortage(source: str | Path | None, asked: int, pictures: Sequence[Original]) -> tuple[str, ...]:
    """A note where a golden record has fewer pictures than were asked for, or none though they were named."""
    where = "the usual data set" if source is None else f"'{source}'"
    if asked and len(pictures) < asked:
        return (f"{asked} pictures were asked for, for the golden record, and {where} holds {len(pictures)}",)
    if not asked and source is not None:
        return (f"no golden record was asked for, so that {where} was not read",)
    return ()


@functools.lru_cache(maxsize=1)
def _usual(count: int) -> tuple[Original, ...]:
    photos = Photos()
    return _small(Shapes() if photos.missing() else photos, count)


def _small(benchmark: Benchmark, count: int) -> tuple[Original, ...]:
    pictures = []
    for example in benchmark.examples(count):
        image = example.open()
        # What comes from a camera stays a JPEG: whether a machine decodes those alike is part of the question.
        kind = "JPEG" if getattr(image, "format", None) in ("JPEG", "MPO") else "PNG"
        small = rgb_from_image(image, example.name)
        small.thumbnail((SIDE, SIDE))
        file = io.BytesIO()
        small.save(file, kind, **({"quality": 90} if kind == "JPEG" else {}))
        name = example.name.encode("utf-8", "backslashreplace").decode()
        pictures.append(Original(name, ".jpg" if kind == "JPEG" else ".png", file.getvalue()))
    return tuple(pictures)
