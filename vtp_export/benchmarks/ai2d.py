"""AI2D, test: multiple choice about school diagrams; accuracy.

Source: Kembhavi et al., "A Diagram Is Worth a Dozen Images" (ECCV 2016).
"""

from collections.abc import Mapping
from typing import Any

from vtp_export.benchmarks import base
from vtp_export.benchmarks._choice import LETTERS, ai2d_letter
from vtp_export.benchmarks._published import LETTER, Asked, Published, Source, lettered, text, texts
from vtp_export.errors import SpecError


class Benchmark(Published):
    """3,088 questions with public answers."""

    source = Source(
        hub="lmms-lab-encoder/ai2d",
        split="test",
        revision="c83a9b969293",
        columns=("question", "options", "answer"),
    )
    longest = 16

    def question(self, cells: Mapping[str, Any]) -> Asked:
        """Question and options."""
        options, number = texts(cells, "options"), text(cells, "answer")
        if number not in map(str, range(min(len(options), len(LETTERS)))):
            raise SpecError(f"answer must be the number of one of {len(options)} options")
        prompt = text(cells, "question") + lettered(options) + LETTER
        return Asked(kind="question", prompt=prompt, answer=LETTERS[int(number)], options=options)

    def credit(self, answered: base.Answered) -> float:
        """Whether the letter is the right one."""
        return float(ai2d_letter(answered.text) == answered.question.answer.lower())
