"""Why each token was kept, and who struck out another: the reference's own decisions, on the signals of a run."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vtp_export.parity.recorded import reference_of
from vtp_export.reference._similarity import cosine_distances
from vtp_export.reference.base import Choice, Outcome, Signals, descending
from vtp_export.runtime.output import Kept
from vtp_export.spec import Candidates, PrunerRecord

FEATURES = ("projected", "hidden", "following_keys", "keys")
"""In which of these tokens are told how near they are: the first that is there."""

ATTENTION = ("saliency", "following_saliency", "received")
"""By which of these a token has a rank, whether or not it was taken by that."""

TOLD = 6
"""Tokens of each side of a difference that are told one by one."""


@dataclass(frozen=True, kw_only=True)
class Reason:
    """Of one token.

    token: its position; row, column: its cell, None for CLS and for what belongs to none.
    kept: whether it was.
    turn: when it was taken, 1 the first; None where it was not.
    why: which part of the method took it, or what became of it.
    score, rank: by what it was taken then, and the place of that among all; None where nothing was compared.
    attention, attention_rank: what it is paid, and the place of that, 1 the first; None where the method reads none.
    threshold: cosine distance below which it struck out others; struck: which.
    by: the kept token that struck it out, or that it was mixed into.
    neighbour, distance: the kept token that is nearest, and how far; None where the features are not known.
    """

    token: int
    row: int | None
    column: int | None
    kept: bool
    turn: int | None
    why: str
    score: float | None
    rank: int | None
    attention: float | None
    attention_rank: int | None
    threshold: float | None
    struck: tuple[int, ...]
    by: int | None
    neighbour: int | None
    distance: float | None


@dataclass(frozen=True)
class Explanation:
    """Reasons of the kept tokens, in the order in which they were taken, and then of the others by position.

    otherwise: tokens that the run kept and the reference, on the same signals, does not; and the other way round.
    """

    reasons: tuple[Reason, ...]
    otherwise: tuple[tuple[int, ...], tuple[int, ...]]


def explanation(pruner: PrunerRecord, signals: Signals, kept: Kept) -> Explanation:
    """Let the reference decide again, and say why.

    Args:
        pruner: of the manifest.
        signals: of the run, with the complexity that it told.
        kept: what the run returned.
    """
    outcome = reference_of(pruner)(signals, pruner.settings)
    ours, theirs = set(map(int, kept.kept)), set(map(int, outcome.kept))
    describe = _Describing(signals, outcome)
    taken = [describe.taken(turn, choice) for turn, choice in enumerate(outcome.choices, start=1)]
    left = [describe.left(token) for token in range(signals.n) if token not in theirs]
    return Explanation((*taken, *left), (tuple(sorted(ours - theirs)), tuple(sorted(theirs - ours))))


def partings(signals: Signals, outcome: Outcome, sides: Sequence[Sequence[int]]) -> tuple[str, ...]:
    """What the reference makes of tokens on which two selections part: of each side the first `TOLD`, a sentence each.

    Args:
        signals: of the session that is trusted.
        outcome: of the reference on them.
        sides: candidate positions that each keeps alone.
    """
    placed = [token for side in sides for token in [token for token in side if token >= 0][:TOLD]]
    if not placed:
        return ()
    describe = _Describing(signals, outcome)
    turns = {choice.token: (turn, choice) for turn, choice in enumerate(outcome.choices, start=1)}
    kept = [describe.taken(*turns[token]) if token in turns else describe.left(token) for token in placed]
    more = sum(max(len(side) - TOLD, 0) for side in sides)
    return (*map(_sentence, kept), *([f"and {more} more"] if more else []))


def _sentence(reason: Reason) -> str:
    cell = "" if reason.row is None else f" (row {reason.row}, column {reason.column})"
    parts = [f"{reason.token}{cell}: {'kept' if reason.kept else 'dropped'} by the reference ({reason.why})"]
    if reason.score is not None:
        parts.append(f"by {reason.score:.6g}" + ("" if reason.rank is None else f", place {reason.rank}"))
    if reason.attention is not None:
        parts.append(f"attention {reason.attention:.6g}, place {reason.attention_rank}")
    if reason.distance is not None:
        parts.append(f"{reason.distance:.4g} from the kept token {reason.neighbour}")
    return "; ".join(parts)


class _Describing:
    """What is known of every token, once."""

    def __init__(self, signals: Signals, outcome: Outcome) -> None:
        self._candidates, self._kept = signals.candidates, [int(i) for i in outcome.kept if i >= 0]
        self._by = {token: choice for choice in outcome.choices for token in choice.struck}
        self._anchors = _anchors(outcome, signals.n)
        self._attention = next((signal for name in ATTENTION if (signal := getattr(signals, name)) is not None), None)
        order = [] if self._attention is None else descending(self._attention)
        self._rank = {token: place for place, token in enumerate(order, start=1)}
        features = next((f for name in FEATURES if (f := getattr(signals, name)) is not None and f.size), None)
        self._distance = None if features is None else cosine_distances(features.astype(np.float64))

    def taken(self, turn: int, choice: Choice) -> Reason:
        return self._reason(choice, True, turn=turn, by=None)

    def left(self, token: int) -> Reason:
        by, anchor = self._by.get(token), self._anchors.get(token)
        if by is not None:
            why, struck_by = f"struck out by {by.token}, nearer than its threshold {by.threshold:.4g}", by.token
        elif anchor is not None:
            why, struck_by = f"mixed into the token at {anchor}", anchor
        else:
            why, struck_by = f"all {len(self._kept)} were taken before its turn", None
        return self._reason(Choice(token=token, why=why), False, turn=None, by=struck_by)

    def _reason(self, choice: Choice, kept: bool, *, turn: int | None, by: int | None) -> Reason:
        token, (row, column) = choice.token, _cell(choice.token, self._candidates)
        neighbour, distance = self._nearest(token)
        return Reason(
            token=token,
            row=row,
            column=column,
            kept=kept,
            turn=turn,
            why=choice.why,
            score=choice.score,
            rank=choice.rank,
            attention=None if self._attention is None or token < 0 else float(self._attention[token]),
            attention_rank=self._rank.get(token),
            threshold=choice.threshold,
            struck=choice.struck,
            by=by,
            neighbour=neighbour,
            distance=distance,
        )

    def _nearest(self, token: int) -> tuple[int | None, float | None]:
        others = [other for other in self._kept if other != token]
        if self._distance is None or token < 0 or not others:
            return None, None
        away = self._distance[token]
        nearest = min(others, key=lambda other: (away[other], other))
        return nearest, float(away[nearest])


def _anchors(outcome: Outcome, n: int) -> dict[int, int]:
    """By token that was mixed into others, the place of the one it counts most in; -1 for a token of no place."""
    if outcome.mix is None:
        return {}
    weights = outcome.mix[:, outcome.mix.shape[1] - n :]  # CLS is the first column of a mixture that has it
    rows = weights.argmax(0)
    return {token: int(outcome.kept[rows[token]]) for token in range(n) if weights[rows[token], token] > 0}


def _cell(token: int, candidates: Candidates) -> tuple[int | None, int | None]:
    place = token - candidates.cls
    return (None, None) if place < 0 else divmod(place, candidates.grid[1])


def chosen(explained: Explanation, token: int) -> Reason:
    """The reason of one token, which is a candidate."""
    return next(reason for reason in explained.reasons if reason.token == token)


def positions(reasons: Sequence[Reason]) -> np.ndarray:
    """(k,) of those that were kept."""
    return np.array([reason.token for reason in reasons if reason.kept], np.int64)
