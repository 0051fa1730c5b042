"""`validate --answers`: does the language model say the same when it reads the artefact's tokens?

For every question of the benchmark, greedy decoding from the eager graph's tokens and from each format's. Three
things are told apart: whether the answers are the same token for token, what the task metric is of both, and whether
the difference of the metrics could be chance (McNemar's exact test on the questions that only one got right).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from vtp_export.benchmarks.base import Answered, Benchmark, Decoded, Example
from vtp_export.errors import SpecError
from vtp_export.parity.judged import Row
from vtp_export.progress import Progress, silent
from vtp_export.runtime.output import Run
from vtp_export.runtime.packing import Packer, Picture
from vtp_export.spec import Scalar

SIGNIFICANT = 0.05


class LanguageModel(Protocol):
    """What reads the visual tokens; see `integrations.transformers.Answerer`."""

    def answer(self, pictures: Picture | Sequence[Picture], prompts: Sequence[str], longest: int = 64) -> list[Decoded]:
        """One answer to each prompt about the picture, or about all of them together."""
        ...


@dataclass(frozen=True)
class Reply:
    """One question with its answer, as text and as it was decoded."""

    answered: Answered
    decoded: Decoded


@dataclass(frozen=True, kw_only=True)
class Disagreement:
    """A question answered differently. `margin`: how far apart the graph's two best logits were where they part."""

    image: str
    prompt: str
    expected: str
    found: str
    margin: float


@dataclass(frozen=True, kw_only=True)
class AnswerComparison(Row):
    """Answers from one format's tokens, against those from the eager graph's.

    identical: answers that are the same token for token. agreement: share of tokens that are the same, place by place.
    metric: name of the benchmark's main metric; expected, found: its value for the graph and for the format.
    p_value: of McNemar's exact test; 1 where right and wrong are the same.
    asked: share of answers that must be the same token for token.
    """

    name: str
    questions: int
    identical: int
    agreement: float
    metric: str
    expected: float
    found: float
    p_value: float
    disagreements: tuple[Disagreement, ...]
    asked: float

    @property
    def failures(self) -> tuple[str, ...]:
        """Why this does not pass: a sentence each."""
        found = []
        if self.identical < self.asked * self.questions:
            found.append(f"{self.identical} of {self.questions} answers are the same, below {self.asked:.1%}")
        if self.p_value < SIGNIFICANT:
            values = f"{self.metric} is {self.found:.4f} instead of {self.expected:.4f}"
            found.append(f"{values}, which is not chance (p = {self.p_value:.2g})")
        return tuple(found)

    @property
    def numbers(self) -> dict[str, Scalar]:
        """Those that a manifest records."""
        return {
            "questions": self.questions,
            "answers_identical": self.identical,
            "answers_metric": self.metric,
            "answers_graph": self.expected,
            "answers_found": self.found,
            "answers_p_value": self.p_value,
            "answers_passed": self.passed,
        }


def ask(model: LanguageModel, example: Example, picture: Picture) -> list[Reply]:
    """Ask every question of an example about its picture."""
    decoded = model.answer(picture, [question.prompt for question in example.questions])
    return [
        Reply(Answered(example.name, question, answer.text), answer)
        for question, answer in zip(example.questions, decoded, strict=True)
    ]


def refuse_silent(examples: Sequence[Example]) -> None:
    """See that something is asked, before anything is loaded.

    Raises:
        SpecError: there are no questions.
    """
    if not any(example.questions for example in examples):
        raise SpecError("this benchmark asks no questions; use one that does, for example shapes")


def answers_of(
    model: LanguageModel,
    examples: Sequence[Example],
    run: Run,
    packer: Packer,
    progress: Progress = silent,
) -> list[Reply]:
    """Ask every question of every example, one image at a time.

    Raises:
        SpecError: see `refuse_silent`.
    """
    refuse_silent(examples)
    replies = []
    for done, example in enumerate(examples):
        progress("answering", done, len(examples))
        replies += ask(model, example, packer.picture(example.open(), run, name=example.name))
    return replies


def mcnemar(first: Sequence[bool], second: Sequence[bool]) -> float:
    """Two-sided exact p-value for paired right and wrong answers.

    Example:
        >>> mcnemar([True] * 6, [False] * 6)
        0.03125
    """
    only_first = sum(a and not b for a, b in zip(first, second, strict=True))
    only_second = sum(b and not a for a, b in zip(first, second, strict=True))
    n = only_first + only_second
    tail = sum(math.comb(n, i) for i in range(min(only_first, only_second) + 1))
    return min(1.0, tail / 2 ** (n - 1)) if n else 1.0


def compare_answers(
    name: str, benchmark: Benchmark, expected: Sequence[Reply], found: Sequence[Reply], asked: float
) -> AnswerComparison:
    """Hold replies against others to the same questions.

    Args:
        name: of the comparison.
        benchmark: whose questions they are; scores them.
        expected: from the eager graph's tokens.
        found: from a format's.
        asked: see `AnswerComparison`.
    """
    same = total = 0
    differing = []
    for own, reply in zip(expected, found, strict=True):
        ours, theirs = own.decoded, reply.decoded
        equal = sum(a == b for a, b in zip(ours.ids, theirs.ids, strict=False))
        longest = max(len(ours.ids), len(theirs.ids), 1)
        same, total = same + equal + (not ours.ids and not theirs.ids), total + longest
        if ours.ids != theirs.ids:
            differing.append(_disagreement(own, reply))
    before, after = [reply.answered for reply in expected], [reply.answered for reply in found]
    metric, value = next(iter(benchmark.score(before).items()))
    right = [[benchmark.is_right(answered) for answered in side] for side in (before, after)]
    return AnswerComparison(
        name=name,
        questions=len(before),
        identical=len(before) - len(differing),
        agreement=same / max(total, 1),
        metric=metric,
        expected=value,
        found=benchmark.score(after)[metric],
        p_value=mcnemar(*right),
        disagreements=tuple(differing),
        asked=asked,
    )


def _disagreement(own: Reply, reply: Reply) -> Disagreement:
    ours, theirs = own.decoded, reply.decoded
    parting = next((i for i, (a, b) in enumerate(zip(ours.ids, theirs.ids, strict=False)) if a != b), None)
    place = min(len(ours.ids), len(theirs.ids)) if parting is None else parting
    return Disagreement(
        image=own.answered.image,
        prompt=own.answered.question.prompt,
        expected=own.answered.text,
        found=reply.answered.text,
        margin=ours.gaps[min(place, len(ours.gaps) - 1)],
    )
