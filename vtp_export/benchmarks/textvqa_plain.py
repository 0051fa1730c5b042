"""TextVQA, validation, as `textvqa` but without the OCR line: for LLaVA-NeXT and Qwen.

Its data are looked for where those of `textvqa` are.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vtp_export.benchmarks import textvqa
from vtp_export.benchmarks._published import WORD, Asked, home, text, texts


class Benchmark(textvqa.Benchmark):
    """The same questions and answers."""

    def __init__(self, folder: Path | None = None) -> None:
        super().__init__(home() / "textvqa" if folder is None else folder)

    def question(self, cells: Mapping[str, Any]) -> Asked:
        """The question alone."""
        answers = texts(cells, "answers")
        prompt = f"{text(cells, 'question')}{WORD}"
        return Asked(kind="question", prompt=prompt, answer=answers[0], references=answers)
