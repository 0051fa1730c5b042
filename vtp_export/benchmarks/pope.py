"""POPE: is there an object in a COCO photograph, yes or no; mean F1 of its three settings.

As in the official evaluation: of the first sentence, the words `No`, `no` and `not` mean no, and all else means yes.

Source: Li et al., "Evaluating Object Hallucination in Large Vision-Language Models" (EMNLP 2023).
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from vtp_export.benchmarks import base
from vtp_export.benchmarks._published import WORD, Asked, Published, Source, text
from vtp_export.errors import SpecError


@lru_cache(maxsize=1 << 16)
def means_no(given: str) -> bool:
    """Whether an answer denies, by the official rule.

    Example:
        >>> [means_no(text) for text in ("No, it is not", "I do not", "NO", "Nope", "none", "Yes. No cat")]
        [True, True, False, False, False, False]
    """
    words = given.partition(".")[0].replace(",", "").split(" ")
    return any(word in ("No", "no", "not") for word in words)


class Benchmark(Published):
    """9,000 questions about 500 pictures, with public answers."""

    source = Source(
        hub="lmms-lab-encoder/POPE",
        split="test",
        revision="4db1276663df",
        columns=("question_id", "question", "answer", "image_source", "category"),
    )

    def picture(self, cells: Mapping[str, Any]) -> str:
        """The picture is asked about several times."""
        return text(cells, "image_source")

    def question(self, cells: Mapping[str, Any]) -> Asked:
        """The question."""
        answer = text(cells, "answer").strip().lower()
        if answer not in ("yes", "no"):
            raise SpecError("answer must be yes or no")
        return Asked(kind=text(cells, "category"), prompt=text(cells, "question") + WORD, answer=answer)

    def credit(self, answered: base.Answered) -> float:
        """Whether yes is yes and no is no."""
        return float(means_no(answered.text) == (answered.question.answer == "no"))

    def is_mean(self) -> bool:
        """F1 is none."""
        return False

    def score(self, asked: Sequence[base.Answered]) -> dict[str, float]:
        """F1 of "yes", the mean over the settings first; accuracy."""
        scores = {}
        for kind in sorted({answered.question.kind for answered in asked}):
            part = [answered for answered in asked if answered.question.kind == kind]
            said, true = [not means_no(one.text) for one in part], [one.question.answer == "yes" for one in part]
            hits = sum(one and other for one, other in zip(said, true, strict=True))
            scores[f"F1 {kind}"] = 2 * hits / max(sum(said) + sum(true), 1)
        accuracy = sum(map(self.credit, asked)) / len(asked)
        return {"F1": sum(scores.values()) / len(scores), **scores, "accuracy": accuracy}
