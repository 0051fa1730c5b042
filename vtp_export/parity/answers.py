"""`validate --answers`: does the language model say the same when it reads the artefact's tokens?

For every question of the benchmark, greedy decoding from the eager graph's tokens and from each format's. Three
things are told apart: whether the answers are the same token for token, what the task metric is of both, and whether
the difference of the metrics could be chance (McNemar's exact test on the questions that only one got right).
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from vtp_export.benchmarks.base import Answered, Benchmark, Decoded, Example
from vtp_export.errors import SpecError
from vtp_export.graphs.pruned import PrunedFrontend
from vtp_export.parity.gates import GATES
from vtp_export.progress import Progress, silent
from vtp_export.runtime.front_end import PrunedArtefact, run_batch
from vtp_export.runtime.preprocess import pixel_values

SIGNIFICANT = 0.05


class LanguageModel(Protocol):
    """What reads the visual tokens; see `integrations.transformers.Answerer`."""

    def answer(self, tokens: np.ndarray, prompts: Sequence[str], longest: int = 64) -> list[Decoded]:
        """One answer to each prompt about the image of tokens (k, d)."""
        ...


@dataclass(frozen=True)
class Disagreement:
    """A question answered differently. `margin`: how far the reference's two best logits were apart where they part."""

    image: str
    prompt: str
    expected: str
    found: str
    margin: float


@dataclass(frozen=True)
class AnswerComparison:
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
    def passed(self) -> bool:
        """Whether every gate is met."""
        return not self.failures


def answers_of(
    answerer: LanguageModel, examples: Iterable[Example], tokens: Iterable[np.ndarray]
) -> list[tuple[Answered, Decoded]]:
    """Ask every question of every example. `tokens`: for each example (k, d), empty slots cut off."""
    found = []
    for example, visual in zip(examples, tokens, strict=True):
        decoded = answerer.answer(visual, [question.prompt for question in example.questions])
        for question, answer in zip(example.questions, decoded, strict=True):
            found.append((Answered(example.name, question, answer.text), answer))
    return found


def compare_answers(
    answerer: LanguageModel,
    benchmark: Benchmark,
    examples: Sequence[Example],
    graph: PrunedFrontend,
    sessions: Mapping[str, PrunedArtefact],
    progress: Progress = silent,
) -> tuple[AnswerComparison, ...]:
    """One comparison for each session.

    Raises:
        SpecError: the benchmark asks nothing.
    """
    if not any(example.questions for example in examples):
        raise SpecError("this benchmark asks no questions; use one that does, for example shapes")
    expected: list[tuple[Answered, Decoded]] = []
    found: dict[str, list[tuple[Answered, Decoded]]] = {name: [] for name in sessions}
    preprocessing = next(iter(sessions.values())).manifest.preprocessing
    for done, example in enumerate(examples):
        progress("answering", done, len(examples))
        pixels = pixel_values([example.image], preprocessing)
        with torch.inference_mode():
            chosen, _, count, *_ = graph(torch.from_numpy(pixels))
        expected += answers_of(answerer, [example], [chosen[0, : int(count[0])].numpy()])
        for name, session in sessions.items():
            output = run_batch(session, pixels)
            found[name] += answers_of(answerer, [example], [output.tokens[0, : int(output.num_kept[0])]])
    asked = {name: GATES[session.manifest.precision.name].answers for name, session in sessions.items()}
    return tuple(_judged(f"answers of {name}", benchmark, expected, mine, asked[name]) for name, mine in found.items())


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


def _judged(
    name: str,
    benchmark: Benchmark,
    expected: Sequence[tuple[Answered, Decoded]],
    found: Sequence[tuple[Answered, Decoded]],
    asked: float,
) -> AnswerComparison:
    same = total = 0
    differing = []
    for (put, ours), (answered, theirs) in zip(expected, found, strict=True):
        equal = sum(a == b for a, b in zip(ours.ids, theirs.ids, strict=False))
        longest = max(len(ours.ids), len(theirs.ids), 1)
        same, total = same + equal + (not ours.ids and not theirs.ids), total + longest
        if ours.ids != theirs.ids:
            parting = next((i for i, (a, b) in enumerate(zip(ours.ids, theirs.ids, strict=False)) if a != b), None)
            place = min(len(ours.ids), len(theirs.ids)) if parting is None else parting
            texts = put.image, put.question.prompt, put.text, answered.text
            differing.append(Disagreement(*texts, ours.gaps[min(place, len(ours.gaps) - 1)]))
    before, after = ([answered for answered, _ in side] for side in (expected, found))
    metric, value = next(iter(benchmark.score(before).items()))
    right = [[benchmark.is_right(answered) for answered in side] for side in (before, after)]
    return AnswerComparison(
        name,
        len(before),
        len(before) - len(differing),
        same / max(total, 1),
        metric,
        value,
        benchmark.score(after)[metric],
        mcnemar(*right),
        tuple(differing),
        asked,
    )
