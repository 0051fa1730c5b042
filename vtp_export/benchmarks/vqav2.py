"""VQAv2, validation: questions about COCO photographs; VQA accuracy.

Published scores are of test-dev, whose answers are not public and whose scores are some two points higher: compare
methods with one another and not with those. As LLaVA does before it uploads, the answer is normalised as that of
TextVQA; then the official evaluation follows, which normalises both sides where people do not all say the very same.

Source: Goyal et al., "Making the V in VQA Matter" (CVPR 2017).
"""

import re
from collections.abc import Mapping
from typing import Any

from vtp_export.benchmarks import base
from vtp_export.benchmarks._published import WORD, Asked, Published, Source, asked_of, text
from vtp_export.benchmarks._vqa import agreement, normalised, official
from vtp_export.errors import SpecError


def stripped(answer: str) -> str:
    """Without line ends and tabs: what is done to people's answers in any case."""
    return re.sub(r"[\n\t]", " ", answer).strip()


class Benchmark(Published):
    """214,354 questions; ten people's answers, which are public."""

    source = Source(
        hub="lmms-lab-encoder/VQAv2",
        split="validation",
        revision="32665d35052e",
        columns=("image_id", "question_id", "question", "answers", "answer_type", "multiple_choice_answer"),
    )
    by_kind = True

    def picture(self, cells: Mapping[str, Any]) -> str:
        """The picture is asked about several times."""
        return text(cells, "image_id")

    def question(self, cells: Mapping[str, Any]) -> Asked:
        """The question."""
        rows = cells.get("answers")
        if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
            raise SpecError("answers must be a list of objects with answer, and is not")
        answers = tuple(text(row, "answer") for row in rows)
        prompt = text(cells, "question") + WORD
        usual = text(cells, "multiple_choice_answer")
        return Asked(kind=text(cells, "answer_type"), prompt=prompt, answer=usual, references=answers)

    def credit(self, answered: base.Answered) -> float:
        """VQA accuracy."""
        answers = tuple(stripped(one) for one in asked_of(answered).references)
        return agreement(normalised(answered.text), answers, official if len(set(answers)) > 1 else str)
