"""ScienceQA, test, questions with a picture (ScienceQA-IMG): multiple choice from school; accuracy.

The rule for answers is that of LLaVA's evaluation, by which `b` and `B.` are wrong.

Source: Lu et al., "Learn to Explain: Multimodal Reasoning via Thought Chains for Science Question Answering" (NeurIPS
2022).
"""

from collections.abc import Mapping
from typing import Any

from vtp_export.benchmarks import base
from vtp_export.benchmarks._choice import LETTERS, scienceqa_letter
from vtp_export.benchmarks._published import LETTER, Asked, Published, Source, lettered, text, texts
from vtp_export.errors import SpecError


class Benchmark(Published):
    """2,017 questions, each with its picture and a public answer."""

    source = Source(
        hub="lmms-lab-encoder/ScienceQA",
        config="ScienceQA-IMG",
        split="test",
        columns=("question", "choices", "answer", "hint", "subject"),
    )
    longest = 1024
    by_kind = True

    def question(self, cells: Mapping[str, Any]) -> Asked:
        """Context, question, options."""
        options, number, hint = texts(cells, "choices"), cells.get("answer"), cells.get("hint")
        if not isinstance(number, int) or number not in range(min(len(options), len(LETTERS))):
            raise SpecError(f"answer must be the number of one of {len(options)} choices")
        context = f"Context: {hint}\n" if isinstance(hint, str) and hint.strip() else ""
        prompt = context + text(cells, "question") + lettered(options) + LETTER
        return Asked(kind=text(cells, "subject"), prompt=prompt, answer=LETTERS[number], options=options)

    def credit(self, answered: base.Answered) -> float:
        """Whether the letter is the right one."""
        return float(scienceqa_letter(answered.text) == answered.question.answer)
