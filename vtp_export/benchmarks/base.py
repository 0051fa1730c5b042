"""The contract of a data set: pictures in a fixed order, with questions where it has any."""

import itertools
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, TypeVar

import PIL.Image

from vtp_export.arguments import whole
from vtp_export.errors import SpecError

Item = TypeVar("Item")


@dataclass(frozen=True)
class Question:
    """Something to ask about a picture.

    kind: what metrics group it by, for example "colour" or "yes/no popular".
    prompt, answer: texts.
    """

    kind: str
    prompt: str
    answer: str


@dataclass(frozen=True)
class Example:
    """One picture, the name that reports show for it (unique in a data set), and what to ask about it.

    open: decodes the picture, every time it is called: a list of examples holds none.
    """

    name: str
    open: Callable[[], PIL.Image.Image]
    questions: tuple[Question, ...] = ()


@dataclass(frozen=True)
class Answered:
    """What a model said to a question about a picture."""

    image: str
    question: Question
    text: str


@dataclass(frozen=True)
class Decoded:
    """One answer: token ids without the end mark, the text, and for each step the gap of the two best logits."""

    ids: tuple[int, ...]
    text: str
    gaps: tuple[float, ...]


@dataclass(frozen=True)
class Printed:
    """How papers print the score of a benchmark: which of its metrics, "" for the main one, times what."""

    metric: str = ""
    unit: float = 100


class Benchmark(Protocol):
    """A data set. Two passes over `examples` give the same pictures in the same order.

    printed: its column in tables of several benchmarks.
    left_out: what the last pass over `examples` could not use, a sentence each.
    """

    printed: ClassVar[Printed] = Printed()
    left_out: Sequence[str] = ()

    longest: ClassVar[int] = 64
    """Most tokens of an answer."""

    def examples(self, limit: int | None) -> Iterator[Example]:
        """Yield the pictures, none of them decoded yet.

        Args:
            limit: stop after so many, at least 1; None yields all.

        Raises:
            SpecError: the limit is below 1.
        """
        ...

    def missing(self) -> str | None:
        """Why this data set cannot be read here and what to install, or None."""
        ...

    def calibration(self) -> "Benchmark":
        """The pictures to calibrate on: others than those that are tested on, where the data set is split."""
        return self

    def spread(self, count: int | None) -> tuple[list[Example], int]:
        """Pictures from everywhere in the data set, whose first ones may be of one kind, and how many it holds.

        Args:
            count: how many, at least 1; None, or more than there are, for all.
        """
        every = list(self.examples(None))
        some = min(count or len(every), len(every))
        return [every[(2 * i + 1) * len(every) // (2 * some)] for i in range(some)], len(every)

    def is_right(self, answered: Answered) -> bool:
        """Whether an answer is right. Only asked of data sets with questions."""
        raise SpecError("this data set asks nothing; choose one with questions, for example shapes")

    def credit(self, answered: Answered) -> float:
        """How right an answer is, from 0 to 1, where the metric knows degrees."""
        return float(self.is_right(answered))

    def counts(self, question: Question) -> bool:
        """Whether the main metric is about such questions."""
        return True

    def is_mean(self) -> bool:
        """Whether the main metric is the mean credit of the questions that count, so that it has an interval."""
        return True

    def score(self, asked: Sequence[Answered]) -> dict[str, float]:
        """Metrics by name, the main one first. Only asked of data sets with questions."""
        raise SpecError("this data set asks nothing; choose one with questions, for example shapes")


def limited(items: Iterable[Item], limit: int | None) -> Iterator[Item]:
    """The first `limit` items, or all of them."""
    if limit is not None:
        whole("limit", limit, 1)
    return itertools.islice(items, None if limit is None else min(limit, sys.maxsize))
