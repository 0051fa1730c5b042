"""Scores of answers: accuracy by kind, POPE's F1, CHAIR."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from vtp_export.benchmarks._scenes import COLOURS, SHAPES
from vtp_export.benchmarks.base import Answered

MENTION = re.compile(rf"\b({'|'.join(COLOURS)})\s+({'|'.join(SHAPES)})")


def is_right(answered: Answered) -> bool:
    """Whether the answer begins with the words that were wanted; of a caption, whether it names just what is there."""
    wanted, given = answered.question.answer.lower(), answered.text.lower()
    if answered.question.kind == "caption":
        return mentioned(wanted) == mentioned(given)
    return begins_with(given, wanted)


def begins_with(given: str, wanted: str) -> bool:
    """Whether a text begins with the words of another, in either case, whatever stands between them.

    Example:
        >>> begins_with("Yes, there is.", "yes"), begins_with("Yesterday.", "yes")
        (True, False)
    """
    words = re.findall(r"\w+", wanted.lower())
    return bool(words) and re.findall(r"\w+", given.lower())[: len(words)] == words


def accuracy_by_kind(asked: Sequence[Answered]) -> dict[str, float]:
    """Share of right answers: "accuracy" over all but captions, and each kind alone, POPE's settings joined."""
    groups: dict[str, list[bool]] = {"accuracy": []}
    for answered in asked:
        kind = answered.question.kind.split()[0]
        if kind != "caption":
            groups["accuracy"].append(is_right(answered))
            groups.setdefault(kind, []).append(is_right(answered))
    return {name: sum(values) / len(values) for name, values in groups.items() if values}


def pope_f1(asked: Sequence[Answered]) -> dict[str, float]:
    """F1 of "yes" in each setting of POPE, and their mean."""
    scores = {}
    for kind in sorted({a.question.kind for a in asked if a.question.kind.startswith("yes/no")}):
        mine = [a for a in asked if a.question.kind == kind]
        said = [a.text.lower().startswith("yes") for a in mine]
        true = [a.question.answer == "yes" for a in mine]
        hits = sum(s and t for s, t in zip(said, true, strict=True))
        scores[f"F1 {kind.split()[1]}"] = 2 * hits / max(sum(said) + sum(true), 1)
    return {"F1": sum(scores.values()) / len(scores), **scores} if scores else {}


@dataclass(frozen=True)
class Caption:
    """What a caption names, in order and as often as it does, what is there to be named, and its length in words."""

    named: tuple[str, ...]
    there: frozenset[str]
    length: int

    @property
    def invented(self) -> int:
        """Mentions of what is not there."""
        return sum(name not in self.there for name in self.named)


def chair(captions: Sequence[Caption]) -> dict[str, float]:
    """CHAIR (paper eq. 5): C_S, C_I, recall of the objects that are there, and words a caption."""
    if not captions:
        return {}
    found = sum(len(one.there & set(one.named)) for one in captions)
    return {
        "C_S": sum(one.invented > 0 for one in captions) / len(captions),
        "C_I": sum(one.invented for one in captions) / max(sum(len(one.named) for one in captions), 1),
        "recall": found / max(sum(len(one.there) for one in captions), 1),
        "length": sum(one.length for one in captions) / len(captions),
    }


def captions_of(asked: Sequence[Answered]) -> list[Caption]:
    """The captions of drawn scenes among these answers."""
    return [
        Caption(tuple(mentioned(a.text)), frozenset(mentioned(a.question.answer)), len(re.findall(r"\w+", a.text)))
        for a in asked
        if a.question.kind == "caption"
    ]


def mentioned(text: str) -> list[str]:
    """Objects named in a text, in order.

    Example:
        >>> mentioned("A red  circle, and two blue rings.")
        ['red circle', 'blue ring']
    """
    return [f"{colour} {shape}" for colour, shape in MENTION.findall(text.lower())]
