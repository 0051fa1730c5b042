"""VizWiz-VQA, validation: blind people's photographs and questions; VQA accuracy.

Published scores are of the test split, whose answers are not public: its server judges them, so compare methods with
one another and not with those.

Source: Gurari et al., "VizWiz Grand Challenge: Answering Visual Questions from Blind People" (CVPR 2018).
"""

from collections.abc import Mapping
from typing import Any

from vtp_export.benchmarks import base
from vtp_export.benchmarks._published import WORD, Asked, Published, Source, asked_of, text, texts
from vtp_export.benchmarks._vqa import agreement

UNANSWERABLE = "\nWhen the provided information is insufficient, respond with 'Unanswerable'."


class Benchmark(Published):
    """4,319 questions, one a picture; ten people's answers, which are public."""

    source = Source(
        hub="lmms-lab-encoder/VizWiz-VQA", split="val", columns=("question_id", "question", "answers", "category")
    )
    by_kind = True

    def picture(self, cells: Mapping[str, Any]) -> str:
        """The question's own."""
        return text(cells, "question_id")

    def question(self, cells: Mapping[str, Any]) -> Asked:
        """The question, and what to say where there is no answer."""
        answers = texts(cells, "answers")
        prompt = text(cells, "question") + UNANSWERABLE + WORD
        return Asked(kind=text(cells, "category"), prompt=prompt, answer=answers[0], references=answers)

    def credit(self, answered: base.Answered) -> float:
        """VQA accuracy."""
        return agreement(answered.text, asked_of(answered).references)
