"""`validate --answers`: does the language model say the same when it reads the artefact's tokens?

For every question of the benchmark, greedy decoding from the eager graph's tokens and from each format's. Three
things are told apart: whether the answers are the same token for token, what the task metric is of both, and whether
the difference of the metrics could be chance (McNemar's exact test on the questions that only one got right).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from vtp_export.benchmarks.base import Answered, Benchmark, Example
from vtp_export.parity.answer_store import AnswerStore, Line, picture_key, question_key
from vtp_export.parity.asking import BATCH, LONGEST, LanguageModel, Reply, ask, refuse_silent, together
from vtp_export.parity.chance import mcnemar
from vtp_export.parity.judged import Gate, Row
from vtp_export.progress import Progress, silent
from vtp_export.runtime.images import as_image
from vtp_export.runtime.output import Run
from vtp_export.runtime.packing import Packer
from vtp_export.spec import Scalar

SIGNIFICANT = 0.05


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
    first_token_ms: median wait for the first token, where the runtime that answers is not the graph's and tells it.
    decides: whether anything is asked of it; what a quantised language model changes by itself is only told.
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
    first_token_ms: float | None = None
    decides: bool = True

    @property
    def held_to(self) -> tuple[Gate, ...]:
        """How many are the same, and whether the metric differs by more than chance."""
        if not self.decides:
            return ()
        same, values = f"{self.identical} of {self.questions}", f"{self.found:.4f} instead of {self.expected:.4f}"
        few = self.identical < self.asked * self.questions
        moved, p = self.p_value < SIGNIFICANT, f"(p = {self.p_value:.2g})"
        told = f"{same} answers are the same, below {self.asked:.1%}"
        return (
            Gate("same answers", same, f"at least {self.asked:.1%}", (told,) if few else ()),
            Gate(
                self.metric,
                f"{values} {p}",
                f"no difference beyond chance (p at least {SIGNIFICANT:g})",
                (f"{self.metric} is {values}, which is not chance {p}",) if moved else (),
            ),
        )

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


@dataclass(frozen=True, kw_only=True)
class Manner:
    """How questions are asked. longest: most tokens of an answer. batch: questions that are answered together at most.

    store: where answers are looked for and kept.
    """

    longest: int = LONGEST
    batch: int = BATCH
    store: AnswerStore | None = None


def answers_of(
    model: LanguageModel,
    examples: Sequence[Example],
    run: Run,
    packer: Packer,
    progress: Progress = silent,
    manner: Manner = Manner(),
) -> list[Reply]:
    """Ask every question of every example, a batch at a time.

    Raises:
        SpecError: there are no questions.
    """
    refuse_silent(examples)
    store, done = manner.store or AnswerStore(None, {}), 0
    replies: list[Reply] = []
    for few in together(examples, manner.batch):
        progress("answering", done, len(examples))
        photos = [as_image(example.open(), example.name) for example in few]
        pictures = [picture_key(photo) for photo in photos]
        keys = [[question_key(one.prompt, manner.longest) for one in example.questions] for example in few]
        unknown = [i for i in range(len(few)) if not store.knows(pictures[i], keys[i])]
        shown = [(few[i], packer.picture(photos[i], run, name=few[i].name)) for i in unknown]
        said = iter(ask(model, shown, manner.longest, manner.batch))
        found = [(pictures[i], {key: next(said).decoded for key in keys[i]}) for i in unknown]
        store.add([Line(picture=picture, answers=answers, measures={}) for picture, answers in found])
        for example, picture, own in zip(few, pictures, keys, strict=True):
            line = store.find(picture)
            for question, key in zip(example.questions, own, strict=True):
                assert line is not None  # it has just been asked
                decoded = line.answers[key]
                replies.append(Reply(Answered(example.name, question, decoded.text), decoded))
        done += len(few)
    return replies


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
