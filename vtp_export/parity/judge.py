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
from vtp_export.parity.explanation import partings
from vtp_export.parity.gates import Gates
from vtp_export.parity.tally import Pair, Tally, alike, matched, unexplained
from vtp_export.parity.witness import DRAWS, FEW_DRAWS, Noise, Select, Witness, beside, witness
from vtp_export.reference.base import Objective, Outcome, Settings, Signals, walks
from vtp_export.reference.erank import effective_rank_by_gram
from vtp_export.runtime.output import Kept
from vtp_export.spec import PrunerRecord

NOTHING = 1e-12
"""A worth of so little, or of no token: two such sets are as good as each other."""

Explain = Callable[[], Witness | None]
"""A search for a witness, to be called if it is needed."""

Rows = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Anchors (m,) and weights (m, n) of a mixture to its tokens (m, d), through the graph's projector."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One image.

    image: its name.
    signals: what the reference sees of it.
    result: what was made of it by the session that is trusted.
    outcome: what the reference decides; asked once, where it is needed.
    rows: makes the tokens of other mixtures; None where the projector is not at hand.
    standard: (k,) the kept set whose worth is 1; None for what the reference decides.
    """

    image: str
    signals: Signals
    result: Kept
    outcome: Callable[[], Outcome]
    rows: Rows | None
    standard: np.ndarray | None = None

    @functools.cached_property
    def erank_kept(self) -> float:
        """How complex the image is: the effective rank of the tokens that the trusted session keeps."""
        return effective_rank_by_gram(self.result.tokens)


@dataclass(frozen=True)
class Start:
    """An image's signals in the artefact's precision, and how far from the true ones they lie."""

    signals: Signals
    way: Noise


Near = Callable[[], Start]


@dataclass(frozen=True, kw_only=True)
class Judge:
    """The reference method with its settings.

    objectives, walks: see `reference/base.py`.
    chaotic, merges: see `pruners/base.py`.
    """

    select: Select
    objectives: tuple[Objective, ...]
    walks: bool
    settings: Settings
    chaotic: bool
    merges: bool

    def gates(self, gates: Gates) -> Gates:
        """Those of a precision, for this method.

        Of a walk no share of the kept tokens is asked for. What a set is worth says nothing of mixtures: where tokens
        are merged, every difference must be explained whatever the precision.
        """
        return dataclasses.replace(
            gates,
            jaccard=0.0 if self.walks or self.chaotic else gates.jaccard,
            explained=gates.explained or self.merges,
        )

    def worth(self, case: Case, kept: np.ndarray) -> dict[str, float]:
        """What a kept set is worth over what the standard is, under the signals of the reference, by objective."""
        expected = case.outcome().kept if case.standard is None else case.standard
        if np.array_equal(expected, kept):
            return {one.name: 1.0 for one in self.objectives}

        def worth(one: Objective, positions: np.ndarray) -> float:
            placed = positions[positions >= 0]
            return max(one.worth(case.signals, self.settings, placed), NOTHING) if len(placed) else NOTHING

        return {one.name: worth(one, kept) / worth(one, expected) for one in self.objectives}

    def case(self, image: str, signals: Signals, result: Kept, rows: Rows | None = None) -> Case:
        """An image, see `Case`; the reference is not asked yet."""
        outcome = functools.cache(lambda: self.select(signals, self.settings))
        return Case(image=image, signals=signals, result=result, outcome=outcome, rows=rows)

    def hold_graph(self, tally: Tally, case: Case, wide: np.ndarray | None = None) -> None:
        """Hold what the graph made of an image against the reference.

        Args:
            tally: receives it.
            case: the image.
            wide: (k,) what the graph's pruner keeps in float64; for a chaotic method, which is held to that.
        """
        outcome, result = case.outcome(), case.result
        if wide is not None:
            result = dataclasses.replace(result, kept=wide)
        rows = None if outcome.mix is None or case.rows is None else case.rows(outcome.kept, outcome.mix)
        # A selector's tokens are the graph's own features: there is nothing of the reference to hold them against.
        pair = Pair(result.tokens[:0], result.tokens[:0]) if rows is None else Pair(rows, result.tokens, mixed=True)
        expected = dataclasses.replace(measured(case), kept=outcome.kept, tokens=pair.expected, deepstack=None)
        explain = self._explanation(tally, case, result, outcome.complexity)
        tally.add(case.image, expected, result, explain, pair)
        _complete(tally, case, known=True)

    def measure_decides(self, case: Case) -> bool:
        """Whether half or twice the complexity that the method measures would lead to other tokens."""
        outcome = case.outcome()
        if outcome.complexity is None:
            return False
        for factor in (0.5, 2.0):
            moved = dataclasses.replace(case.signals, complexity=factor * outcome.complexity)
            if not np.array_equal(self.select(moved, self.settings).kept, outcome.kept):
                return True
        return False

    def hold_format(self, tally: Tally, case: Case, found: Kept, near: Near | None = None, search: bool = True) -> None:
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
        tally.add(case.image, case.result, found, explain, matched(case.result, found, mixed=self.merges))
        _complete(tally, case, known=search)
        if search:
            tally.add_worth(case.image, self.worth(case, found.kept))

    def hold_numbers(self, tally: Tally, case: Case, found: Kept) -> None:
        """Hold another result against the graph's by what can be measured; no difference is explained."""
        tally.add(case.image, measured(case), found, pair=matched(case.result, found, mixed=self.merges))
        tally.add_worth(case.image, self.worth(case, found.kept))

    def _explanation(
        self, tally: Tally, case: Case, found: Kept, reported: float | None, near: Near | None = None
    ) -> Explain:
        """Look for a witness of `found`; `reported` is the complexity that was told besides the graph's own."""

        def select(moved: Signals, settings: Settings) -> Outcome:
            outcome = self.select(moved, settings)
            if outcome.mix is None or case.rows is None or not np.array_equal(outcome.kept, found.kept):
                return outcome
            if alike(case.rows(outcome.kept, outcome.mix), found.tokens, tally.gates.relative_error).all():
                return outcome
            return dataclasses.replace(outcome, kept=outcome.kept[:0])  # anchored alike, mixed otherwise

        draws = self._draws(tally)

        def search() -> Witness | None:
            if self.merges and case.rows is None and np.array_equal(found.kept, case.result.kept):
                return None  # only the mixtures differ, and nobody here can make others
            values = [value for value in (reported, case.result.complexity) if value is not None]
            begun = functools.partial(
                witness, select, self.settings, kept=found.kept, noise=tally.noise, complexities=values, draws=draws
            )
            if near is not None:
                start = near()
                first = begun(signals=start.signals)
                if first is not None and (whole := beside(first, start.way, tally.noise)) is not None:
                    return whole
                if draws == FEW_DRAWS:
                    return None
            return begun(signals=case.signals)

        return search

    def _straying(self, tally: Tally, case: Case, found: Kept) -> Explain:
        """For a chaotic method: look for a movement that leads the reference as far astray as `found` is."""
        kept = found.kept

        def select(moved: Signals, settings: Settings) -> Outcome:
            home, outcome = set(case.outcome().kept.tolist()), self.select(moved, settings)
            astray = len(home & set(outcome.kept.tolist())) <= len(home & set(kept.tolist()))
            return dataclasses.replace(outcome, kept=kept) if astray else outcome

        return lambda: witness(select, self.settings, case.signals, kept, tally.noise, [], draws=self._draws(tally))

    def _draws(self, tally: Tally) -> int:
        """Few where a set as good is enough: explanations are only told, and a search through much noise is long."""
        return DRAWS if tally.gates.explained or not self.objectives else FEW_DRAWS


def _complete(tally: Tally, case: Case, *, known: bool) -> None:
    """Say of an image that was just added how complex it is, and, where signals are `known`, why tokens were kept."""
    tally.eranks_kept.append(case.erank_kept)
    if known and not tally.sames[-1]:
        last = tally.differences[-1]
        reasons = partings(case.signals, case.outcome(), (last.only_expected, last.only_found))
        tally.differences[-1] = dataclasses.replace(last, reasons=reasons)


def measured(case: Case) -> Kept:
    """What the graph made of an image, with the complexity that the reference measures in float64.

    Of two roundings of float32 each may be right and the two twice as far apart.
    """
    complexity, result = case.outcome().complexity, case.result
    return dataclasses.replace(
        result,
        erank=None if result.erank is None else complexity,
        attention_entropy=None if result.attention_entropy is None else complexity,
    )


def judge_of(pruner: PrunerRecord, *, chaotic: bool, merges: bool) -> Judge:
    """The judge of a manifest's pruner."""
    room = rooms.load("reference", pruner.name)
    return Judge(
        select=room.select,
        objectives=room.MAXIMISES,
        walks=walks(pruner.name),
        settings=pruner.settings,
        chaotic=chaotic,
        merges=merges,
    )
