"""The oracle at work: what the reference method expects of an image, and whether rounding explains another result.

Two kinds of methods need more than the list of what was kept. A merging one is also held to its mixtures: its tokens
must be those that the reference's weights give, and a witness must reproduce the tokens too. A chaotic one is exact in
float64 only: there the graph's pruner must equal the reference; in float32 a result passes if the reference, its
inputs moved within the noise, strays as far from itself.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from vtp_export import rooms
from vtp_export.functional.tokens import Selection, Tokens
from vtp_export.graphs.pruned import PrunedFrontend
from vtp_export.parity.noise import deviation, signals_of
from vtp_export.parity.witness import Noise, Select, Witness, beside, witness
from vtp_export.reference.base import Outcome, Settings, Signals
from vtp_export.spec import PrunerRecord


@dataclass(frozen=True)
class Found:
    """What something made of one image.

    kept: (m,) positions. rows: (m, d) output tokens. complexities: see `witness`.
    tolerance: largest difference of two entries of the same token, as a share of the largest entry.
    """

    kept: np.ndarray
    rows: np.ndarray
    complexities: Sequence[float | None]
    tolerance: float


@dataclass(frozen=True)
class Judge:
    """The reference method with its settings, beside the graph that it judges.

    chaotic: see `pruners/base.py`.
    """

    graph: PrunedFrontend
    select: Select
    settings: Settings
    chaotic: bool

    def signals(self, tokens: Tokens, image: int) -> Signals:
        """What the reference sees of one image of a batch."""
        return signals_of(tokens, image, self.graph.frontend.candidates)

    def outcome(self, tokens: Tokens, image: int) -> Outcome:
        """What the reference decides for one image of a batch."""
        return self.select(self.signals(tokens, image), self.settings)

    def rows(self, tokens: Tokens, image: int, outcome: Outcome) -> np.ndarray | None:
        """Output tokens (m, d) by the reference's mixture, through the graph's projector; None for a selector."""
        if outcome.mix is None:
            return None
        one = _image_of(tokens, image)
        mix = torch.from_numpy(outcome.mix).to(one.hidden.dtype)[None]
        with torch.inference_mode():
            made = self.graph.finish(one, Selection(torch.from_numpy(outcome.kept)[None], mix))
        return made[0][0].numpy()

    def kept(self, tokens: Tokens, image: int, kept: np.ndarray) -> np.ndarray:
        """What to hold against the reference: what the graph kept or, where it is chaotic, what it keeps in float64."""
        if not self.chaotic:
            return kept
        one = _image_of(tokens, image, torch.float64)
        with torch.inference_mode():
            return self.graph.pruner(one).kept[0].numpy()

    def explain(
        self, tokens: Tokens, image: int, found: Found, noise: Noise, twin: Callable[[], Tokens] | None = None
    ) -> Callable[[], Witness | None]:
        """A search for a witness, to be called if it is needed.

        Args:
            tokens: signals of the batch.
            image: which of it.
            found: what is to be explained.
            noise: measured.
            twin: gives the signals of the batch in the artefact's precision, from where the way is short.
        """

        def select(moved: Signals, settings: Settings) -> Outcome:
            outcome = self.select(moved, settings)
            theirs = self.rows(tokens, image, outcome) if np.array_equal(outcome.kept, found.kept) else None
            if theirs is not None and not alike(theirs, found.rows, found.tolerance).all():
                return dataclasses.replace(outcome, kept=outcome.kept[:0])  # anchored alike, mixed otherwise
            return outcome

        def search() -> Witness | None:
            values = [value for value in found.complexities if value is not None]
            begun = functools.partial(witness, select, self.settings, kept=found.kept, noise=noise, complexities=values)
            if twin is not None:
                mine, theirs = _image_of(tokens, image), _image_of(twin(), image)
                near = begun(signals=self.signals(theirs, 0))
                if near is not None and (whole := beside(near, deviation(mine, theirs), noise)) is not None:
                    return whole
            return begun(signals=self.signals(tokens, image))

        return search

    def strays(self, tokens: Tokens, image: int, kept: np.ndarray, noise: Noise) -> Callable[[], Witness | None]:
        """As `explain`, for a chaotic method: a movement that leads the reference as far astray as `kept` is."""
        home = set(self.outcome(tokens, image).kept.tolist())

        def select(moved: Signals, settings: Settings) -> Outcome:
            outcome = self.select(moved, settings)
            astray = len(home & set(outcome.kept.tolist())) <= len(home & set(kept.tolist()))
            return dataclasses.replace(outcome, kept=kept) if astray else outcome

        return lambda: witness(select, self.settings, self.signals(tokens, image), kept, noise, [])


def _image_of(tokens: Tokens, image: int, dtype: torch.dtype | None = None) -> Tokens:
    """A batch of one."""
    signals = {name: signal for name, signal in tokens._asdict().items() if signal is not None}
    return Tokens(**{name: signal[image : image + 1].to(dtype or signal.dtype) for name, signal in signals.items()})


def judge_of(graph: PrunedFrontend, pruner: PrunerRecord) -> Judge:
    """The judge of a manifest's pruner."""
    chaotic = getattr(rooms.load("pruners", pruner.name), "CHAOTIC", False)
    return Judge(graph, rooms.load("reference", pruner.name).select, pruner.settings, chaotic)


def alike(expected: np.ndarray, found: np.ndarray, tolerance: float) -> np.ndarray:
    """Which rows of (m, d) tokens are the same mixture: (m,) bool, within the gate for token values."""
    if expected.shape != found.shape:
        return np.zeros(len(found), dtype=bool)
    largest = np.abs(expected).max(initial=0)
    near: np.ndarray = np.abs(expected - found).max(1, initial=0) <= tolerance * largest
    return near
