"""The oracle at work: what the reference method expects of an image, and whether rounding explains another result.

Two kinds of methods need more than the list of what was kept. A merging one is also held to its mixtures: its tokens
must be those that the reference's weights give, and a witness must reproduce the tokens too. A chaotic one is exact in
float64 only: there the graph's pruner must equal the reference; in float32 a result passes if the reference, its
inputs moved within the noise, strays as far from itself.
"""

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from vtp_export import rooms
from vtp_export.functional.tokens import Tokens
from vtp_export.graphs.eager import EagerSession, Seen
from vtp_export.parity.noise import deviation, signals_of
from vtp_export.parity.tally import Pair, Tally, alike, matched, unexplained
from vtp_export.parity.witness import Select, Witness, beside, witness
from vtp_export.reference.base import Outcome, Settings, Signals
from vtp_export.runtime.output import Kept
from vtp_export.spec import PrunerRecord

Explain = Callable[[], Witness | None]
"""A search for a witness, to be called if it is needed."""


@dataclass(frozen=True)
class Case:
    """One image: its name, how the graph sees it, and what the reference decides."""

    image: str
    seen: Seen
    outcome: Outcome


@dataclass(frozen=True)
class Judge:
    """The reference method with its settings, beside the graph that it judges.

    chaotic: see `pruners/base.py`.
    """

    eager: EagerSession
    select: Select
    settings: Settings
    chaotic: bool

    def signals(self, tokens: Tokens) -> Signals:
        """What the reference sees of an image."""
        return signals_of(tokens, 0, self.eager.graph.frontend.candidates)

    def case(self, image: str, seen: Seen) -> Case:
        """Ask the reference."""
        return Case(image, seen, self.select(self.signals(seen.tokens), self.settings))

    def hold_graph(self, tally: Tally, case: Case) -> None:
        """Hold what the graph made of an image against the reference."""
        outcome, result = case.outcome, case.seen.result
        if self.chaotic:
            result = dataclasses.replace(result, kept=self.eager.kept_in_float64(case.seen.tokens))
        rows = self._rows(case, outcome)
        # A selector's tokens are the graph's own features: there is nothing of the reference to hold them against.
        pair = Pair(result.tokens[:0], result.tokens[:0]) if rows is None else Pair(rows, result.tokens, mixed=True)
        expected = Kept(
            kept=outcome.kept,
            tokens=pair.expected,
            erank=None if result.erank is None else outcome.complexity,
            attention_entropy=None if result.attention_entropy is None else outcome.complexity,
        )
        explain = self._explanation(tally, case, result, outcome.complexity)
        tally.add(case.image, expected, result, explain, pair)

    def measure_decides(self, case: Case) -> bool:
        """Whether half or twice the complexity that the method measures would lead to other tokens."""
        outcome = case.outcome
        if outcome.complexity is None:
            return False
        signals = self.signals(case.seen.tokens)
        for factor in (0.5, 2.0):
            moved = dataclasses.replace(signals, complexity=factor * outcome.complexity)
            if not np.array_equal(self.select(moved, self.settings).kept, outcome.kept):
                return True
        return False

    def hold_format(
        self,
        tally: Tally,
        case: Case,
        found: Kept,
        near: Callable[[], Tokens] | None = None,
        search: bool = True,
    ) -> None:
        """Hold what a format made of an image against the graph.

        Args:
            tally: its gates say which mixtures are the same.
            case: the image.
            found: the format's result.
            near: gives the signals of the image in the artefact's precision, from where the way to `found` is short.
            search: whether rounding could explain a difference at all.
        """
        if not search:
            explain: Explain = unexplained
        elif self.chaotic:
            explain = self._straying(tally, case, found)
        else:
            explain = self._explanation(tally, case, found, found.complexity, near)
        pair = matched(case.seen.result, found, mixed=case.outcome.mix is not None)
        tally.add(case.image, case.seen.result, found, explain, pair)

    def _rows(self, case: Case, outcome: Outcome) -> np.ndarray | None:
        """Output tokens (m, d) by the reference's mixture, through the graph's projector; None for a selector."""
        return None if outcome.mix is None else self.eager.mixed(case.seen.tokens, outcome.kept, outcome.mix)

    def _explanation(
        self, tally: Tally, case: Case, found: Kept, reported: float | None, near: Callable[[], Tokens] | None = None
    ) -> Explain:
        """Look for a witness of `found`; `reported` is the complexity that was told besides the graph's own."""

        def select(moved: Signals, settings: Settings) -> Outcome:
            outcome = self.select(moved, settings)
            rows = self._rows(case, outcome) if np.array_equal(outcome.kept, found.kept) else None
            if rows is not None and not alike(rows, found.tokens, tally.gates.relative_error).all():
                return dataclasses.replace(outcome, kept=outcome.kept[:0])  # anchored alike, mixed otherwise
            return outcome

        def search() -> Witness | None:
            values = [value for value in (reported, case.seen.result.complexity) if value is not None]
            begun = functools.partial(
                witness, select, self.settings, kept=found.kept, noise=tally.noise, complexities=values
            )
            if near is not None:
                start = near()
                first = begun(signals=self.signals(start))
                way = deviation(case.seen.tokens, start)
                if first is not None and (whole := beside(first, way, tally.noise)) is not None:
                    return whole
            return begun(signals=self.signals(case.seen.tokens))

        return search

    def _straying(self, tally: Tally, case: Case, found: Kept) -> Explain:
        """For a chaotic method: look for a movement that leads the reference as far astray as `found` is."""
        home, kept = set(case.outcome.kept.tolist()), found.kept

        def select(moved: Signals, settings: Settings) -> Outcome:
            outcome = self.select(moved, settings)
            astray = len(home & set(outcome.kept.tolist())) <= len(home & set(kept.tolist()))
            return dataclasses.replace(outcome, kept=kept) if astray else outcome

        return lambda: witness(select, self.settings, self.signals(case.seen.tokens), kept, tally.noise, [])


def judge_of(eager: EagerSession, pruner: PrunerRecord) -> Judge:
    """The judge of a manifest's pruner."""
    select = rooms.load("reference", pruner.name).select
    return Judge(eager, select, pruner.settings, eager.graph.pruner.method.chaotic)
