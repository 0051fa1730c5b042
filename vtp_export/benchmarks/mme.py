"""MME: two yes/no questions a picture, of 14 abilities; perception, cognition and their sum, with acc+.

A category's score is the share of right questions and the share of pictures with both right (acc+), in per cent: 200 at
most. `MME` is the sum over all categories as a share of its maximum (2,800): the same in proportion, whatever part of
the data set is asked. Perception (2,000 at most) and cognition (800) are sums over the categories that were asked.

Source: Fu et al., "MME: A Comprehensive Evaluation Benchmark for Multimodal Large Language Models" (2023).
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from vtp_export.benchmarks import base
from vtp_export.benchmarks._published import WORD, Asked, Published, Source, text
from vtp_export.errors import SpecError

PERCEPTION = ("existence", "count", "position", "color", "posters", "celebrity", "scene", "landmark", "artwork", "OCR")
COGNITION = ("commonsense_reasoning", "numerical_calculation", "text_translation", "code_reasoning")
ENDING = " Please answer yes or no."


@lru_cache(maxsize=1 << 16)
def meant(given: str) -> str | None:
    """Yes or no, by the official rule; None for anything else.

    Example:
        >>> [meant(text) for text in ("Yes.", "n", "Not sure", "Nope", "I know", "The answer is yes")]
        ['yes', 'no', 'no', 'no', None, None]
    """
    given = given.lower().strip().replace(".", "")
    if given in ("y", "n"):
        return {"y": "yes", "n": "no"}[given]
    return next((word for word in ("yes", "no") if word in given[:4]), None)


class Benchmark(Published):
    """1,187 pictures, whose answers are in the file."""

    source = Source(
        hub="lmms-lab-encoder/MME",
        split="test",
        revision="d6c9023f017b",
        columns=("question_id", "question", "answer", "category"),
    )

    printed = base.Printed("total", 1)

    def picture(self, cells: Mapping[str, Any]) -> str:
        """The two questions about a picture share their id."""
        return text(cells, "question_id")

    def incomplete(self, questions: Sequence[Asked]) -> str | None:
        """acc+ takes both questions."""
        return None if len(questions) == 2 else f"a picture must have two questions and has {len(questions)}"

    def question(self, cells: Mapping[str, Any]) -> Asked:
        """The question, with the usual ending instead of its own."""
        kind, answer = text(cells, "category"), text(cells, "answer").strip().lower()
        if kind not in PERCEPTION + COGNITION:
            raise SpecError(f"category must be one of {', '.join(PERCEPTION + COGNITION)}")
        if answer not in ("yes", "no"):
            raise SpecError("answer must be Yes or No")
        return Asked(kind=kind, prompt=text(cells, "question").removesuffix(ENDING) + WORD, answer=answer)

    def credit(self, answered: base.Answered) -> float:
        """Whether yes is yes and no is no."""
        return float(meant(answered.text) == answered.question.answer)

    def is_mean(self) -> bool:
        """acc+ is of pairs."""
        return False

    def score(self, asked: Sequence[base.Answered]) -> dict[str, float]:
        """The share of the maximum; perception, cognition and their sum in points."""
        pairs: dict[tuple[str, str], list[float]] = defaultdict(list)
        for answered in asked:
            pairs[answered.question.kind, answered.image].append(self.credit(answered))
        points = {}
        for kind in (*PERCEPTION, *COGNITION):
            if own := [right for (name, _), right in pairs.items() if name == kind]:
                questions = [one for right in own for one in right]
                points[kind] = 100 * (sum(questions) / len(questions) + sum(map(all, own)) / len(own))
        return {
            "MME": sum(points.values()) / (200 * len(points)),
            "perception": sum(points.get(kind, 0.0) for kind in PERCEPTION),
            "cognition": sum(points.get(kind, 0.0) for kind in COGNITION),
            "total": sum(points.values()),
        }
