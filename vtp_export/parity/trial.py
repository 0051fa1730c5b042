"""Everything that one validation compares: the graph with the reference, formats with the graph and with themselves."""

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch

from vtp_export.errors import OutputError
from vtp_export.functional.tokens import Tokens
from vtp_export.graphs.eager import EagerSession, Seen
from vtp_export.graphs.pruned import PrunedFrontend
from vtp_export.parity.batches import AGAINST_ITSELF
from vtp_export.parity.bisection import bisected
from vtp_export.parity.contract import breaches, not_finite
from vtp_export.parity.gates import GATES
from vtp_export.parity.judge import Case, Near, Start, judge_of, measured
from vtp_export.parity.noise import arithmetic_noise, deviation, signals_of, tower_noise
from vtp_export.parity.parts import Bisection
from vtp_export.parity.tally import Tally
from vtp_export.parity.verdict import Comparison
from vtp_export.runtime.images import batched
from vtp_export.runtime.output import Kept, Output, Run
from vtp_export.runtime.session import Session
from vtp_export.spec import Layout, PrecisionRecord, PrunerRecord

NAMES = ("graph against reference", " against graph")
CHAOTIC_NAMES = (
    "graph in float64 against reference",
    " against graph (chaotic method: in float32 only the overlap is judged)",
)
"""What is compared. The user should read that a chaotic method is not judged token by token."""

EAGER = 4
"""Images that the graph sees at once."""


class Trial:
    """The comparisons of one artefact, while the images go by.

    Args:
        eager: the graph in float32.
        pruner: as the manifest records it.
        layout: of the model itself.
        precision: of the artefact.
        twin: the graph in that precision, where it is not float32.
        pixels: (b, 3, h, w) a few images, to measure the rounding noise on and to repeat in batches of other sizes; the
            first of those that are judged.
    """

    def __init__(
        self,
        *,
        eager: EagerSession,
        pruner: PrunerRecord,
        layout: Layout,
        precision: PrecisionRecord,
        twin: EagerSession | None,
        pixels: np.ndarray,
    ) -> None:
        method = eager.graph.pruner.method
        self._judge = judge_of(pruner, chaotic=method.chaotic, merges=method.merges)
        self._eager, self._twin, self._layout = eager, twin, layout
        tokens = eager.encode(pixels)
        first = eager.seen(tokens)
        self.pixels = pixels
        self._few = [_digest(image) for image in pixels]
        self._known = dict(zip(self._few, first, strict=True))
        self._cases: dict[bytes, Case] = {}
        self._itself: dict[tuple[str, bytes], Kept] = {}
        self.noise = tower_noise(eager, pixels, [seen.tokens for seen in first], twin)
        self._gates = self._judge.gates(GATES[precision.name])
        names = CHAOTIC_NAMES if self._judge.chaotic else NAMES
        self._name = names[1] if twin is None else f"{names[1]} in fp32, as {precision.name}"
        self._reference = Tally(name=names[0], noise=arithmetic_noise(tokens))
        self._formats: dict[str, Tally] = {}
        self._batches: dict[str, Tally] = {}
        self._asked, self._decides = 0, False

    @property
    def graph(self) -> PrunedFrontend:
        """The graph in the artefact's precision."""
        return (self._twin or self._eager).graph

    def _against_graph(self, name: str) -> Tally:
        return self._formats.setdefault(name, Tally(name=name + self._name, noise=self.noise, gates=self._gates))

    def _against_itself(self, name: str) -> Tally:
        return self._batches.setdefault(name, Tally(name=name + AGAINST_ITSELF, noise=self.noise, gates=self._gates))

    @property
    def sound(self) -> bool:
        """Whether no result so far breaks the contract."""
        return not any(tally.breaches for tally in (self._reference, *self._formats.values(), *self._batches.values()))

    def add(self, images: Sequence[str], pixels: np.ndarray, outcomes: Mapping[str, Output | OutputError]) -> None:
        """Judge a batch.

        Args:
            images: their names.
            pixels: (b, 3, h, w).
            outcomes: of each format that is judged, by the name that reports show; every time of all of them.
        """
        outputs = _finite(outcomes, self._against_graph, images)
        near = self._signals_in_precision(pixels)
        for i, (image, seen) in enumerate(zip(images, self._see(pixels), strict=True)):
            if self._reference.breach(image, not_finite(seen.result)):
                continue  # there is nothing to hold anything against
            case = self._case(image, seen)
            wide = self._eager.kept_in_float64(seen.tokens) if self._judge.chaotic else None
            self._judge.hold_graph(self._reference, case, wide)
            if not self._decides:  # one image is enough
                self._asked, self._decides = self._asked + 1, self._judge.measure_decides(case)
            if (digest := _digest(pixels[i])) in self._known:
                self._cases[digest] = case
            case = dataclasses.replace(case, result=measured(case))
            for name, output in outputs.items():
                if digest in self._known:
                    self._itself[name, digest] = output[i]
                self._hold(self._against_graph(name), case, output, i, near and functools.partial(near, i, seen.tokens))

    def repeat(self, rows: Sequence[int], pixels: np.ndarray, outcomes: Mapping[str, Output | OutputError]) -> None:
        """Judge a batch that is made of the first few images, each against what the same format made of it before.

        Args:
            rows: which images they are.
            pixels: (len(rows), 3, h, w).
            outcomes: as in `add`.
        """
        places = [f"image {place} of a batch of {len(rows)}" for place in range(1, len(rows) + 1)]
        outputs = _finite(outcomes, self._against_itself, places)
        near = self._signals_in_precision(pixels)
        for place, row in enumerate(rows):
            digest = self._few[row]
            if digest not in self._cases:
                self._cases[digest] = self._case(f"image {row + 1}, mirrored", self._known[digest])
            for name, output in outputs.items():
                before = self._itself.setdefault((name, digest), output[place])
                case = self._cases[digest]
                image = f"{case.image} as {places[place]}"
                itself = dataclasses.replace(case, image=image, result=before, standard=before.kept)
                start = near and functools.partial(near, place, self._known[digest].tokens)
                self._hold(self._against_itself(name), itself, output, place, start)

    def _case(self, image: str, seen: Seen) -> Case:
        signals = signals_of(seen.tokens, 0, self._eager.graph.frontend.candidates)
        return self._judge.case(image, signals, seen.result, functools.partial(self._eager.mixed, seen.tokens))

    def _hold(self, tally: Tally, case: Case, output: Output, view: int, near: Near | None) -> None:
        method = self._eager.graph.pruner.method
        broken = tally.breach(case.image, breaches(output, view, self._layout, method.ascending, method.merges))
        # What breaks the contract is no rounding: no witness is looked for.
        self._judge.hold_format(tally, case, output[view], near, search=not broken)

    def _signals_in_precision(self, pixels: np.ndarray) -> Callable[[int, Tokens], Start] | None:
        """The signals of an image of a batch in the artefact's precision, asked for only where tokens differ."""
        if (twin := self._twin) is None:
            return None
        signals = functools.cache(lambda: twin.signals(pixels))
        candidates = twin.graph.frontend.candidates
        return lambda i, true: Start(signals_of(signals()[i], 0, candidates), deviation(true, signals()[i]))

    def _see(self, pixels: np.ndarray) -> list[Seen]:
        """The images whose noise was measured have been through the graph already, and a tower takes its time."""
        digests = [_digest(image) for image in pixels]
        fresh = [i for i, digest in enumerate(digests) if digest not in self._known]
        seen: dict[int, Seen] = {}
        for few in batched(fresh, EAGER):
            seen.update(zip(few, self._eager.see(pixels[few]), strict=True))
        return [seen[i] if i in seen else self._known[digest] for i, digest in enumerate(digests)]

    def bisected(self, name: str, session: Session) -> Bisection:
        """Where a session of this graph's parts leaves it."""
        eager = self._eager
        if self._twin is not None:
            graphs = self._twin, eager
        else:
            graphs = eager, EagerSession(eager.graph, eager.device, torch.float64)
        return Bisection(name, bisected(session, self.pixels, graphs, self._judge, self._layout, self._gates))

    def notes(self) -> Iterator[str]:
        """What the user should know although nothing failed."""
        measures = self._eager.graph.pruner.method.measures
        if measures and self._asked and not self._decides:
            yield (
                f"{measures[0]} decides nothing on these {self._asked} images: with half and with twice of it the same "
                "tokens are kept, so their sameness proves nothing about it; look at the settings it is measured by"
            )

    def done(self) -> Iterator[Comparison]:
        """The graph against the reference first, then each format against the graph."""
        for tally in (self._reference, *self._formats.values()):
            yield tally.done()

    def batches(self) -> Iterator[Comparison]:
        """Each format in batches of other sizes against itself."""
        for tally in self._batches.values():
            yield tally.done()


def outcome(run: Run, pixels: np.ndarray) -> Output | OutputError:
    """What a format makes of a batch, or why nothing of it can be compared."""
    try:
        return run(pixels)
    except OutputError as error:
        return error


def _finite(
    outcomes: Mapping[str, Output | OutputError], tally_of: Callable[[str], Tally], images: Sequence[str]
) -> dict[str, Output]:
    """Those that can be compared. Of every format there is a tally now, in the order of the formats."""
    outputs = {}
    for name, one in outcomes.items():
        tally = tally_of(name)
        if isinstance(one, Output):
            outputs[name] = one
        else:
            for i in one.images:
                tally.breach(images[i], [f"'{one.output}' holds a NaN or an infinity"])
    return outputs


def _digest(pixels: np.ndarray) -> bytes:
    return hashlib.sha256(np.ascontiguousarray(pixels).data).digest()
