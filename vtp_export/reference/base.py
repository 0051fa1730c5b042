"""The contract of a reference file: one image at a time, float64, as the paper writes it.

A file `reference/NAME.py`, named after the pruner it is the oracle of, defines
`select(signals, settings) -> Outcome`, where `settings` are those of the pruner's manifest record.

It also says what the method strives for, `MAXIMISES: tuple[Objective, ...]`, empty where nothing of an image decides;
and `WALK = True` where every choice depends on those before it, so that one near-tie can change many.

A method sees features only through the inner products of tokens, so that any rotation of the channels leads to the same
decision, or its file says `BY_CHANNEL = True`; see `by_channel`.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from vtp_export import rooms
from vtp_export.spec import Candidates

Settings = Mapping[str, bool | int | float | str | None]


@dataclass(frozen=True, kw_only=True)
class Signals:
    """What a pruner may look at, for one image.

    candidates: which place in the picture each position is.
    The fields of `Tokens` without the batch axis, None where the method does not ask for it: hidden (n, dv),
    projected (n, d), cls (1, dv), keys (n, dh), following_keys (n, dv); the others (n,).
    complexity: replaces the measured complexity of the image when it is known, or None to measure it.
    """

    candidates: Candidates
    hidden: np.ndarray
    projected: np.ndarray | None = None
    saliency: np.ndarray | None = None
    cls: np.ndarray | None = None
    keys: np.ndarray | None = None
    received: np.ndarray | None = None
    early_saliency: np.ndarray | None = None
    early_received: np.ndarray | None = None
    following_keys: np.ndarray | None = None
    following_saliency: np.ndarray | None = None
    complexity: float | None = None

    @property
    def n(self) -> int:
        """How many candidates."""
        return self.candidates.n


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Why a method took one token.

    token: its position, or -1 for one that belongs to none.
    why: which part of the method took it, in a few words.
    score: by what it was taken then; None where nothing is compared.
    rank: place of that score among all candidates, 1 the first; None where scores change with every choice.
    threshold: cosine distance below which others were struck out for its sake; None where nothing is struck out.
    struck: positions of those.
    """

    token: int
    why: str
    score: float | None = None
    rank: int | None = None
    threshold: float | None = None
    struck: tuple[int, ...] = ()


def taken(why: str, positions: Iterable[int], scores: np.ndarray | None = None) -> tuple[Choice, ...]:
    """Choices for one reason, in turn.

    Args:
        why: see `Choice`.
        positions: of the tokens.
        scores: (n,) of all candidates, the largest the first; None where nothing is compared.
    """
    if scores is None:
        return tuple(Choice(token=int(i), why=why) for i in positions)
    rank = {i: place for place, i in enumerate(descending(scores), start=1)}
    return tuple(Choice(token=int(i), why=why, score=float(scores[i]), rank=rank[i]) for i in positions)


@dataclass(frozen=True)
class Outcome:
    """What a method decided for one image.

    kept: (m,) positions in output order, m the number kept; for a merging method the candidate that each token is
        anchored at, -1 for none.
    complexity: erank or attention entropy, whichever the method measured, or None.
    mix: (m, n), or (m, n + 1) with CLS first: the weights that make each token of a merging method, or None.
    choices: why each token of `kept`, in the order in which they were taken.
    """

    kept: np.ndarray
    complexity: float | None = None
    mix: np.ndarray | None = None
    choices: tuple[Choice, ...] = ()


@dataclass(frozen=True)
class Objective:
    """What a method strives for.

    name: as tables show it.
    meaning: in a few words.
    worth: of (m,) kept positions under the signals of an image; positive, the larger the better.
    """

    name: str
    meaning: str
    worth: Callable[[Signals, Settings, np.ndarray], float]


def descending(scores: np.ndarray) -> list[int]:
    """Positions by descending score, ties to the lowest position."""
    return sorted(range(len(scores)), key=lambda i: (-scores[i], i))


def walks(method: str) -> bool:
    """Whether every choice of a method depends on those before it."""
    return bool(getattr(rooms.load("reference", method), "WALK", False))


def by_channel(method: str) -> bool:
    """Whether a method looks at single channels of the features."""
    return bool(getattr(rooms.load("reference", method), "BY_CHANNEL", False))
