"""From answers to the rows of a comparison: scores, what is chance, spread.

Whether a method is worse than the unpruned model is asked of the same questions about the same images. Questions about
one image stand and fall together, so the interval counts images: it is the one of a ratio of sums over clusters.

Source: Cochran, "Sampling Techniques", 3rd ed. (1977), sections 6.3 and 9A.2, for the ratio of cluster totals.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vtp_export.benchmarks.base import Answered, Benchmark, Example
from vtp_export.parity.answers import mcnemar
from vtp_export.reports.comparison import CompareReport, Row

BINS = 4
"""Quarters of the images, by effective rank."""

NORMAL_95 = 1.96


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one method made of one image: answers in the order of its questions; see `Row` for the rest."""

    answers: tuple[str, ...]
    kept: float
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
    """One method at one budget, and the seconds of its timed calls, the first of which warms up."""

    name: str
    keep: int
    seconds: tuple[float, ...]


def compared(
    *,
    model: str,
    name: str,
    benchmark: Benchmark,
    examples: Sequence[Example],
    seen: Sequence[Seen],
    entries: Sequence[Entry],
) -> CompareReport:
    """Score every method, the first of which prunes nothing.

    Args:
        model: its name.
        name: of the benchmark.
        benchmark: whose questions they are.
        examples: the images.
        seen: what was made of each, in the same order.
        entries: the methods, in the order of the outcomes.
    """
    complexity = np.array([(one.erank, one.attention_entropy) for one in seen])
    edges = np.quantile(complexity[:, 0], np.linspace(0, 1, BINS + 1))
    place = np.clip(np.searchsorted(edges, complexity[:, 0], side="right") - 1, 0, BINS - 1)
    bins = {example.name: int(number) for example, number in zip(examples, place, strict=True)}
    asked = [_answered(examples, [one.outcomes[i] for one in seen]) for i in range(len(entries))]
    metric = next(iter(benchmark.score(asked[0])))
    rows = tuple(
        _row(entry, [one.outcomes[i] for one in seen], benchmark, asked[0], asked[i], bins)
        for i, entry in enumerate(entries)
    )
    varied = len(examples) > 1 and bool(np.ptp(complexity, axis=0).all())
    return CompareReport(
        model=model,
        benchmark=name,
        images=len(examples),
        questions=len(asked[0]),
        counted=sum(benchmark.counts(answered.question) for answered in asked[0]),
        metric=metric,
        rows=rows,
        edges=tuple(float(edge) for edge in edges),
        bins=tuple(int(number) for number in np.bincount(place, minlength=BINS)),
        correlation=float(np.corrcoef(complexity.T)[0, 1]) if varied else 0.0,
    )


def _answered(examples: Sequence[Example], outcomes: Sequence[Outcome]) -> list[Answered]:
    return [
        Answered(example.name, question, text)
        for example, outcome in zip(examples, outcomes, strict=True)
        for question, text in zip(example.questions, outcome.answers, strict=True)
    ]


def _row(
    entry: Entry,
    outcomes: Sequence[Outcome],
    benchmark: Benchmark,
    full: Sequence[Answered],
    own: Sequence[Answered],
    bins: Mapping[str, int],
) -> Row:
    metrics = benchmark.score(own)
    metric = next(iter(metrics))
    unpruned = benchmark.score(full)[metric]
    counted = [(one, other) for one, other in zip(full, own, strict=True) if benchmark.counts(one.question)]
    credits = [(one.image, benchmark.credit(one), benchmark.credit(other)) for one, other in counted]
    right = [[benchmark.is_right(pair[side]) for pair in counted] for side in (0, 1)]
    timed = entry.seconds[1:] or entry.seconds
    low, median, high = 1e3 * np.percentile(timed, [10, 50, 90]) if timed else (None, None, None)
    return Row(
        method=entry.name,
        keep=entry.keep,
        kept=float(np.mean([one.kept for one in outcomes])),
        score=metrics[metric],
        share=metrics[metric] / unpruned if unpruned else 0.0,
        margin=_margin(credits) if benchmark.is_mean() else None,
        p_value=mcnemar(*right),
        metrics=metrics,
        erank=_mean([one.erank for one in outcomes]),
        entropy=_mean([one.entropy for one in outcomes]),
        milliseconds=median,
        milliseconds_p10=low,
        milliseconds_p90=high,
        by_bin=_by_bin(benchmark, own, metric, bins),
    )


def _mean(values: Sequence[float | None]) -> float | None:
    """None where something has no value."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known and len(known) == len(values) else None


def _margin(pairs: Sequence[tuple[str, float, float]]) -> float | None:
    """Half of the 95 % interval of the difference of two mean credits; None of one image alone."""
    images = list(dict.fromkeys(image for image, _, _ in pairs))
    if len(images) < 2:
        return None
    place = {image: i for i, image in enumerate(images)}
    change, count = np.zeros(len(images)), np.zeros(len(images))
    for image, before, after in pairs:
        change[place[image]] += float(after) - float(before)
        count[place[image]] += 1
    residual = change - change.sum() / count.sum() * count
    n = len(images)
    return NORMAL_95 * math.sqrt(n / (n - 1) * float(residual @ residual)) / float(count.sum())


def _by_bin(benchmark: Benchmark, asked: Sequence[Answered], metric: str, bins: Mapping[str, int]) -> tuple[float, ...]:
    scores = []
    for number in range(BINS):
        part = [answered for answered in asked if bins[answered.image] == number]
        scores.append(benchmark.score(part).get(metric, float("nan")) if part else float("nan"))
    return tuple(scores)
