"""From answers to the rows of a comparison: scores, what is chance, spread.

Whether a method is worse than the unpruned model is asked of the same questions about the same images; see
`parity.chance`.
"""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from vtp_export.benchmarks.base import Answered, Benchmark, Example
from vtp_export.parity.chance import bootstrap, exchanges, mcnemar, of_means, sign_flips
from vtp_export.reports.compared import BenchmarkReport, Row

BINS = 4
"""Quarters of the images, by effective rank."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one method made of one image: answers in the order of its questions; see `Row` for the rest."""

    answers: tuple[str, ...]
    kept: float
    booked: float | None = None
    erank: float | None
    entropy: float | None


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One image: how complex it is, and what every method made of it."""

    name: str
    erank: float
    attention_entropy: float
    outcomes: tuple[Outcome, ...]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One method at one budget."""

    name: str
    keep: int


def compared(
    *,
    name: str,
    benchmark: Benchmark,
    examples: Sequence[Example],
    seen: Sequence[Seen],
    entries: Sequence[Entry],
    exchanged: Sequence[tuple[Example, Seen]] = (),
) -> BenchmarkReport:
    """Score every method, the first of which prunes nothing.

    Args:
        name: of the benchmark.
        benchmark: whose questions they are.
        examples: the images.
        seen: what was made of each, in the same order.
        entries: the methods, in the order of the outcomes.
        exchanged: the same questions asked about other images, where that was tried.
    """
    complexity = np.array([(one.erank, one.attention_entropy) for one in seen])
    edges = np.quantile(complexity[:, 0], np.linspace(0, 1, BINS + 1))
    place = np.clip(np.searchsorted(edges, complexity[:, 0], side="right") - 1, 0, BINS - 1)
    bins = {example.name: int(number) for example, number in zip(examples, place, strict=True)}
    asked = [answered(examples, [one.outcomes[i] for one in seen]) for i in range(len(entries))]
    metric = next(iter(benchmark.score(asked[0])))
    others = [example for example, _ in exchanged]
    swapped = [answered(others, [one.outcomes[i] for _, one in exchanged]) for i in range(len(entries))]
    rows = tuple(
        dataclasses.replace(
            _row(entry, [one.outcomes[i] for one in seen], _Pair(benchmark, asked[0], asked[i]), bins),
            swapped=benchmark.score(swapped[i])[metric] if exchanged else None,
        )
        for i, entry in enumerate(entries)
    )
    varied = len(examples) > 1 and bool(np.ptp(complexity, axis=0).all())
    return BenchmarkReport(
        benchmark=name,
        images=len(examples),
        questions=len(asked[0]),
        counted=sum(benchmark.counts(one.question) for one in asked[0]),
        left_out=tuple(benchmark.left_out),
        metric=metric,
        rows=rows,
        edges=tuple(float(edge) for edge in edges),
        bins=tuple(int(number) for number in np.bincount(place, minlength=BINS)),
        correlation=float(np.corrcoef(complexity.T)[0, 1]) if varied else 0.0,
    )


def answered(examples: Sequence[Example], outcomes: Sequence[Outcome]) -> list[Answered]:
    """All questions with the answers to them."""
    return [
        Answered(example.name, question, text)
        for example, outcome in zip(examples, outcomes, strict=True)
        for question, text in zip(example.questions, outcome.answers, strict=True)
    ]


def _row(entry: Entry, outcomes: Sequence[Outcome], pair: "_Pair", bins: Mapping[str, int]) -> Row:
    return Row(
        method=entry.name,
        keep=entry.keep,
        kept=float(np.mean([one.kept for one in outcomes])),
        score=pair.score,
        share=pair.score / pair.full if pair.full else 0.0,
        interval=pair.interval(),
        p_value=mcnemar(*pair.right()),
        p_permuted=pair.chance(),
        metrics=pair.metrics,
        swapped=None,
        booked=_mean([one.booked for one in outcomes]),
        erank=_mean([one.erank for one in outcomes]),
        entropy=_mean([one.entropy for one in outcomes]),
        by_bin=pair.by_bin(bins),
    )


class _Pair:
    """Answers to the same questions: of the unpruned model, and of another.

    Args:
        benchmark: whose questions they are.
        full: the unpruned model's.
        own: the other's, in the same order.
    """

    def __init__(self, benchmark: Benchmark, full: Sequence[Answered], own: Sequence[Answered]) -> None:
        self._benchmark, self._full, self._own = benchmark, full, own
        self.metrics = benchmark.score(own)
        self.metric = next(iter(self.metrics))
        self.score = self.metrics[self.metric]
        self.full = benchmark.score(full)[self.metric]

    @cached_property
    def _images(self) -> list[tuple[list[Answered], list[Answered]]]:
        """Both answers, image by image."""
        both = sorted(zip(self._full, self._own, strict=True), key=lambda pair: pair[0].image)
        grouped = (list(group) for _, group in itertools.groupby(both, key=lambda pair: pair[0].image))
        return [([one for one, _ in group], [other for _, other in group]) for group in grouped]

    @cached_property
    def _changes(self) -> tuple[list[float], list[int]]:
        """Of each image with questions that count: how much more credit, and of how many questions."""
        changes, counts = [], []
        for full, own in self._images:
            counted = [(a, b) for a, b in zip(full, own, strict=True) if self._benchmark.counts(a.question)]
            if counted:
                changes.append(sum(self._benchmark.credit(b) - self._benchmark.credit(a) for a, b in counted))
                counts.append(len(counted))
        return changes, counts

    def right(self) -> list[list[bool]]:
        """Of both, which questions that count are answered right."""
        counted = [(a, b) for a, b in zip(self._full, self._own, strict=True) if self._benchmark.counts(a.question)]
        return [[self._benchmark.is_right(pair[side]) for pair in counted] for side in (0, 1)]

    def interval(self) -> tuple[float, float] | None:
        """95 %, of the difference of the main metric; None of one image alone."""
        if self._benchmark.is_mean():
            return of_means(*self._changes)
        if not self._differing.any():
            return (0.0, 0.0) if len(self._images) > 1 else None
        return bootstrap(self._redrawn, len(self._images))

    def chance(self) -> float:
        """Of a difference of the main metric so large, by exchanging the answers about images."""
        return sign_flips(self._changes[0]) if self._benchmark.is_mean() else exchanges(self._changed, self._differing)

    def by_bin(self, bins: Mapping[str, int]) -> tuple[float, ...]:
        """The main metric in each quarter of the images."""
        scores = []
        for number in range(BINS):
            part = [one for one in self._own if bins[one.image] == number]
            scores.append(self._benchmark.score(part).get(self.metric, float("nan")) if part else float("nan"))
        return tuple(scores)

    @cached_property
    def _differing(self) -> npt.NDArray[np.bool_]:
        return np.array([[a.text for a in full] != [b.text for b in own] for full, own in self._images])

    def _difference(self, full: Sequence[Answered], own: Sequence[Answered]) -> float:
        return self._benchmark.score(own)[self.metric] - self._benchmark.score(full)[self.metric]

    def _changed(self, exchanged: npt.NDArray[np.bool_]) -> float:
        sides: tuple[list[Answered], list[Answered]] = [], []
        for (full, own), turned in zip(self._images, exchanged.tolist(), strict=True):
            sides[0].extend(own if turned else full)
            sides[1].extend(full if turned else own)
        return self._difference(*sides)

    def _redrawn(self, numbers: npt.NDArray[np.intp]) -> float:
        sides: tuple[list[Answered], list[Answered]] = [], []
        times: dict[int, int] = {}
        for number in numbers.tolist():
            times[number] = times.get(number, -1) + 1
            for side, answers in zip(sides, self._copy(number, times[number]), strict=True):
                side.extend(answers)
        return self._difference(*sides)

    def _copy(self, number: int, time: int) -> tuple[list[Answered], list[Answered]]:
        """An image once more, under another name: metrics may join what is about one image."""
        if (number, time) not in self._copies:
            full, own = self._images[number]
            name = f"{time} {full[0].image}"
            renamed = [[dataclasses.replace(one, image=name) for one in side] for side in (full, own)]
            self._copies[number, time] = renamed[0], renamed[1]
        return self._copies[number, time]

    @cached_property
    def _copies(self) -> dict[tuple[int, int], tuple[list[Answered], list[Answered]]]:
        return {}


def _mean(values: Sequence[float | None]) -> float | None:
    """None where something has no value."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known and len(known) == len(values) else None
