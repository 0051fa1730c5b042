"""TextVQA, validation: text in photographs, with the OCR line of LLaVA-1.5; VQA accuracy.

The line of recognised words is worth some 12 points to LLaVA-1.5, whose published score has it. Models that are asked
without it (LLaVA-NeXT, Qwen) are measured by `textvqa_plain`.

Source: Singh et al., "Towards VQA Models That Can Read" (CVPR 2019).
"""

from collections.abc import Mapping
from typing import Any

from vtp_export.benchmarks import base
from vtp_export.benchmarks._published import WORD, Asked, Published, Source, asked_of, text, texts
from vtp_export.benchmarks._vqa import agreement
from vtp_export.errors import SpecError


class Benchmark(Published):
    """5,000 questions; ten people's answers, which are public."""

    source = Source(
        hub="lmms-lab-encoder/textvqa",
        split="validation",
        revision="9c0699c",
        columns=("image_id", "question_id", "question", "answers", "ocr_tokens"),
    )

    def picture(self, cells: Mapping[str, Any]) -> str:
        """The picture is asked about several times."""
        return text(cells, "image_id")

    def question(self, cells: Mapping[str, Any]) -> Asked:
        """The question, and the line of words."""
        tokens, answers = cells.get("ocr_tokens"), texts(cells, "answers")
        if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
            raise SpecError("ocr_tokens must be a list of texts")
        prompt = f"{text(cells, 'question')}\nReference OCR token: {', '.join(tokens)}{WORD}"
        return Asked(kind="question", prompt=prompt, answer=answers[0], references=answers)

    def credit(self, answered: base.Answered) -> float:
        """VQA accuracy."""
        return agreement(answered.text, asked_of(answered).references)
