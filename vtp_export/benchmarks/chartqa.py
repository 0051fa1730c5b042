"""ChartQA, test: questions about charts; relaxed accuracy.

Numbers may be off by 5 % of the true one, where that is not 0; everything else must be equal but for case. A per cent
sign divides by 100; a comma makes a number a text.

Source: Masry et al., "ChartQA: A Benchmark for Question Answering about Charts with Visual and Logical Reasoning"
(Findings of ACL 2022).
"""

from collections.abc import Mapping
from typing import Any

from vtp_export.benchmarks import base
from vtp_export.benchmarks._published import Asked, Published, Source, text

ENDING = "\nAnswer the question with a single word."
TOLERANCE = 0.05


def relaxed(given: str, wanted: str) -> bool:
    """Whether an answer is near enough.

    Example:
        >>> [relaxed(*pair.split("/")) for pair in ("10.5/10", "0.1/10%", "0/0", "2016/2015")]
        [True, True, True, True]
        >>> [relaxed(*pair.split("/")) for pair in ("10.51/10", "10/10%", "0.0/0", "1,000/1000", "yes./yes")]
        [False, False, False, False, False]
    """
    number, target = _number(given), _number(wanted)
    if number is not None and target:
        return abs(number - target) / abs(target) <= TOLERANCE
    return given.lower() == wanted.lower()


class Benchmark(Published):
    """2,500 questions, half of them written by people, with public answers."""

    source = Source(
        hub="lmms-lab-encoder/ChartQA",
        split="test",
        revision="9e63b7df1592",
        columns=("type", "question", "answer"),
    )
    longest = 16
    by_kind = True

    def question(self, cells: Mapping[str, Any]) -> Asked:
        """The question."""
        prompt = text(cells, "question") + ENDING
        return Asked(kind=text(cells, "type"), prompt=prompt, answer=text(cells, "answer"))

    def credit(self, answered: base.Answered) -> float:
        """Whether the answer is near enough."""
        return float(relaxed(answered.text.strip(), answered.question.answer))


def _number(written: str) -> float | None:
    try:
        return float(written.rstrip("%")) / 100 if written.endswith("%") else float(written)
    except ValueError:
        return None
