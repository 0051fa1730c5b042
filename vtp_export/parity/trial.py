"""Everything that one validation compares: the graph with the reference, and formats with the graph."""

import dataclasses
import functools
import hashlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from vtp_export.graphs.eager import EagerSession, Seen
from vtp_export.parity.gates import GATES
from vtp_export.parity.judge import judge_of
from vtp_export.parity.noise import arithmetic_noise, tower_noise
from vtp_export.parity.tally import Tally
from vtp_export.parity.verdict import Comparison
from vtp_export.runtime.output import Output
from vtp_export.spec import PrunerRecord

NAMES = ("graph against reference", " against graph")
CHAOTIC_NAMES = (
    "graph in float64 against reference",
    " against graph (chaotic method: in float32 only the overlap is judged)",
)
"""What is compared. The user should read that a chaotic method is not judged token by token."""


class Trial:
    """The comparisons of one artefact, while the images go by.

    Args:
        eager: the graph in float32.
        pruner: as the manifest records it.
        precision: of the artefact.
        twin: the graph in that precision, where it is not float32.
        pixels: (b, 3, h, w) a few images to measure the rounding noise on.
    """

    def __init__(
        self,
        eager: EagerSession,
        pruner: PrunerRecord,
        precision: str,
        twin: EagerSession | None,
        pixels: np.ndarray,
    ) -> None:
        self._judge, self._eager, self._twin = judge_of(eager, pruner), eager, twin
        tokens = eager.encode(pixels)
        first = eager.seen(tokens)
        self._known = dict(zip(map(_digest, pixels), first, strict=True))
        self._gates = GATES[precision]
        self._noise = tower_noise(eager, pixels, [seen.tokens for seen in first], twin)
        names = CHAOTIC_NAMES if self._judge.chaotic else NAMES
        if self._judge.chaotic:  # float32 itself keeps half of what float64 does, so no share of it can be asked for
            self._gates = dataclasses.replace(self._gates, jaccard=0.0)
        self._against_graph = names[1] if twin is None else f"{names[1]} in fp32, as {precision}"
        self._reference = Tally(name=names[0], noise=arithmetic_noise(tokens))
        self._formats: dict[str, Tally] = {}

    def add(self, images: Sequence[str], pixels: np.ndarray, outputs: Mapping[str, Output]) -> None:
        """Judge a batch.

        Args:
            images: their names.
            pixels: (b, 3, h, w).
            outputs: of each format that is judged, by the name that reports show.
        """
        for name in outputs:
            tally = Tally(name=name + self._against_graph, noise=self._noise, gates=self._gates)
            self._formats.setdefault(name, tally)
        twin = self._twin  # runs only for an image whose tokens differ
        narrow = None if twin is None else functools.cache(lambda: twin.signals(pixels))
        for i, (image, seen) in enumerate(zip(images, self._see(pixels), strict=True)):
            case = self._judge.case(image, seen)
            self._judge.hold_graph(self._reference, case)
            for name, output in outputs.items():
                near = None if narrow is None else lambda i=i: narrow()[i]
                self._judge.hold_format(self._formats[name], case, output[i], near)

    def _see(self, pixels: np.ndarray) -> list[Seen]:
        """The images whose noise was measured have been through the graph already, and a tower takes its time."""
        digests = [_digest(image) for image in pixels]
        if all(digest in self._known for digest in digests):
            return [self._known[digest] for digest in digests]
        return self._eager.see(pixels)

    def done(self) -> Iterator[Comparison]:
        """The graph against the reference first, then each format against the graph."""
        for tally in (self._reference, *self._formats.values()):
            yield tally.done()


def _digest(pixels: np.ndarray) -> bytes:
    return hashlib.sha256(np.ascontiguousarray(pixels).data).digest()
