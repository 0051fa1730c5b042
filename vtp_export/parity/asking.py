"""What a language model is asked about visual tokens, and who can answer."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from vtp_export.benchmarks.base import Answered, Decoded, Example
from vtp_export.errors import SpecError
from vtp_export.inllm.base import Method
from vtp_export.runtime.packing import Picture

LONGEST = 64
"""Most tokens of an answer, where nobody says."""

BATCH = 16
"""Questions that are answered together, where nobody says."""


@dataclass(frozen=True)
class Prompt:
    """One question: pictures in the order in which they are shown, before the text; most tokens of the answer."""

    pictures: tuple[Picture, ...]
    text: str
    longest: int = LONGEST


class LanguageModel(Protocol):
    """What reads the visual tokens; see `integrations.transformers.Answerer`."""

    @property
    def layers(self) -> int:
        """Of the language model."""
        ...

    def answer_each(self, prompts: Sequence[Prompt], batch: int = BATCH, within: Method | None = None) -> list[Decoded]:
        """One answer to each prompt; `within` prunes inside the language model."""
        ...


@dataclass(frozen=True)
class Reply:
    """One question with its answer, as text and as it was decoded."""

    answered: Answered
    decoded: Decoded


def ask(
    model: LanguageModel,
    shown: Sequence[tuple[Example, Picture]],
    longest: int = LONGEST,
    batch: int = BATCH,
    within: Method | None = None,
) -> list[Reply]:
    """Ask all questions of examples about their pictures, in order.

    Args:
        model: answers.
        shown: examples, each with the picture that its questions are asked about.
        longest: most tokens of an answer.
        batch: questions that are answered together at most.
        within: prunes inside the language model.
    """
    asked = [(example, question, picture) for example, picture in shown for question in example.questions]
    prompts = [Prompt((picture,), question.prompt, longest) for _, question, picture in asked]
    return [
        Reply(Answered(example.name, question, answer.text), answer)
        for (example, question, _), answer in zip(asked, model.answer_each(prompts, batch, within), strict=True)
    ]


def refuse_silent(examples: Sequence[Example]) -> None:
    """See that something is asked, before anything is loaded.

    Raises:
        SpecError: there are no questions.
    """
    if not any(example.questions for example in examples):
        raise SpecError("this benchmark asks no questions; use one that does, for example shapes")


def together(examples: Sequence[Example], batch: int) -> Iterator[list[Example]]:
    """Examples in runs that have no more questions than a batch, or one example alone that has more.

    Example:
        >>> from types import SimpleNamespace
        >>> some = [SimpleNamespace(questions="?" * count) for count in (1, 2, 5, 1, 1, 1)]
        >>> [[len(one.questions) for one in few] for few in together(some, 3)]
        [[1, 2], [5], [1, 1, 1]]
    """
    few: list[Example] = []
    for example in examples:
        if few and sum(len(one.questions) for one in few) + len(example.questions) > batch:
            yield few
            few = []
        few.append(example)
    if few:
        yield few
