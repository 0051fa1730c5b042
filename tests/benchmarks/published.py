"""Small data sets in the columns of the published ones, in a folder of the test's own."""

import json
from pathlib import Path
from typing import Any

from PIL import Image

from vtp_export import rooms
from vtp_export.benchmarks.base import Answered, Benchmark

BROKEN = "broken.jpg"
"""A file that is there and is no picture."""


def data_set(folder: Path, name: str, rows: list[Any], config: str | None = None) -> Benchmark:
    """A benchmark that reads these rows; a text stands for a line as it is."""
    benchmark = rooms.load("benchmarks", name).Benchmark(folder)
    source = benchmark.source
    place = folder / (config or source.config or "data")
    place.mkdir(parents=True, exist_ok=True)
    for image in ("a.png", "b.png", "c.png"):
        Image.new("RGB", (4, 3)).save(place / image)
    (place / BROKEN).write_bytes(b"\xff\xd8 no picture")
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    (place / f"{source.split}.jsonl").write_text("\n".join(lines))
    return benchmark


def answered(benchmark: Benchmark, texts: list[str], limit: int | None = None) -> list[Answered]:
    """These answers to all questions, in their order."""
    asked = [(example.name, question) for example in benchmark.examples(limit) for question in example.questions]
    return [Answered(name, question, text) for (name, question), text in zip(asked, texts, strict=True)]
