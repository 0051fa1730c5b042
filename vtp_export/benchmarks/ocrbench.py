"""OCRBench: reading text of all kinds; an answer is right when it contains a true one.

The usual score counts right answers, 1,000 at most: a thousand times this one, when all are asked. Formulas are judged
without spaces and with case, all else without case. As in the official evaluation, and not in lmms-eval's of late, wide
letters (`Ａ`) are no narrow ones.

Source: Liu et al., "OCRBench: On the Hidden Mystery of OCR in Large Multimodal Models" (2023).
"""

from collections.abc import Mapping
from typing import Any

from vtp_export.benchmarks import base
from vtp_export.benchmarks._published import Asked, Published, Source, asked_of, text, texts
from vtp_export.errors import SpecError

FORMULAS = "HME100k"
"""The data set in it whose answers are formulas."""


class Benchmark(Published):
    """1,000 questions with public answers."""

    source = Source(
        hub="echo840/OCRBench",
        split="test",
        revision="276bd0b",
        columns=("dataset", "question", "question_type", "answer"),
    )

    def question(self, cells: Mapping[str, Any]) -> Asked:
        """The question as it is."""
        answers = (cells["answer"],) if isinstance(cells.get("answer"), str) else texts(cells, "answer")
        if not all(answer.strip() for answer in answers):
            raise SpecError("answer must be a text that is not empty, or a list of such")
        kind, origin = text(cells, "question_type"), text(cells, "dataset")
        return Asked(kind=kind, prompt=text(cells, "question"), answer=answers[0], references=answers, id=origin)

    def credit(self, answered: base.Answered) -> float:
        """Whether one of the true answers is in it."""
        asked = asked_of(answered)
        form = _formula if asked.id == FORMULAS else _plain
        return float(any(form(one) in form(answered.text) for one in asked.references))


def _plain(written: str) -> str:
    return written.lower().strip().replace("\n", " ")


def _formula(written: str) -> str:
    return written.strip().replace("\n", " ").replace(" ", "")
