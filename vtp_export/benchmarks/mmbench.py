"""MMBench, English dev: multiple choice over 20 abilities; circular evaluation by exact matching.

A question is asked once for each rotation of its options, and is right when all rotations are. Answers are matched by
rule and never by a judge, so that scores are lower than those of its server where a model talks.

Source: Liu et al., "MMBench: Is Your Multi-modal Model an All-around Player?" (ECCV 2024).
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from vtp_export.benchmarks import base
from vtp_export.benchmarks._choice import mmbench_letter
from vtp_export.benchmarks._published import LETTER, Asked, Published, Source, asked_of, lettered, text
from vtp_export.errors import SpecError

ROTATION = 10**6
"""Rows whose index is the same but for a multiple of this are rotations of one question."""


class Benchmark(Published):
    """4,329 rows, rotations of 1,164 questions, with public answers."""

    source = Source(
        hub="lmms-lab-encoder/MMBench",
        config="en",
        split="dev",
        revision="56ba1af",
        columns=("index", "question", "hint", "answer", "A", "B", "C", "D", "category"),
    )
    longest = 1024
    ending: ClassVar[str] = LETTER

    def picture(self, cells: Mapping[str, Any]) -> str:
        """That of all rotations."""
        return str(_index(cells) % ROTATION)

    def incomplete(self, questions: Sequence[Asked]) -> str | None:
        """The score is by questions, and they are told by their first row."""
        if any(int(question.id) < ROTATION for question in questions):
            return None
        return f"a question must have a row whose index is below {ROTATION}"

    def question(self, cells: Mapping[str, Any]) -> Asked:
        """Hint, question, options."""
        given = [letter for letter in "ABCD" if not _is_empty(cells.get(letter))]
        if len(given) < 2 or given != list("ABCD"[: len(given)]):
            raise SpecError(f"options must be A, B and so on without a gap, and are {', '.join(given) or 'none'}")
        options = tuple(str(cells[letter]) for letter in given)
        answer = text(cells, "answer").strip()
        if len(answer) != 1 or answer not in "ABCD"[: len(options)]:
            raise SpecError(f"answer must be the letter of one of {len(options)} options")
        hint = "" if _is_empty(cells.get("hint")) else f"{cells['hint']}\n"
        prompt = hint + text(cells, "question") + lettered(options) + self.ending
        kind, number = text(cells, "category"), str(_index(cells))
        return Asked(kind=kind, prompt=prompt, answer=answer, options=options, id=number)

    def credit(self, answered: base.Answered) -> float:
        """Whether the option is the right one in this row."""
        return float(mmbench_letter(answered.text, asked_of(answered).options) == answered.question.answer)

    def is_mean(self) -> bool:
        """A question counts once for all its rows."""
        return False

    def score(self, asked: Sequence[base.Answered]) -> dict[str, float]:
        """The share of questions that are right in all rotations, and of those that are in their first row."""
        right: dict[str, list[float]] = defaultdict(list)
        for answered in asked:
            right[answered.image].append(self.credit(answered))
        first = [self.credit(answered) for answered in asked if int(asked_of(answered).id) < ROTATION]
        return {"circular": sum(map(all, right.values())) / len(right), "one pass": sum(first) / len(first)}


def _index(cells: Mapping[str, Any]) -> int:
    value = cells.get("index")
    try:
        return int(text(cells, "index"))
    except ValueError as error:
        raise SpecError(f"index must be a whole number and is {value!r}") from error


def _is_empty(cell: Any) -> bool:
    """Whether an option or a hint is none: the tables write "nan"."""
    return cell is None or cell != cell or str(cell).strip() in ("", "nan")
