"""What a coarser graph makes of real images, and the fewest layers that must stay in float32 to meet the gates."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

from vtp_export.graphs.eager import EagerSession
from vtp_export.graphs.pruned import PrunedFrontend
from vtp_export.parity.gates import AT_LEAST, Gates
from vtp_export.parity.judge import Case, judge_of
from vtp_export.parity.noise import signals_of
from vtp_export.parity.tally import Tally
from vtp_export.parity.verdict import Comparison
from vtp_export.parity.witness import Noise
from vtp_export.precision.images import RangeImages
from vtp_export.runtime.output import naming
from vtp_export.spec import PrunerRecord

MARGIN = 0.5
"""Of every gate, this share may be used up on the images that are tried: others are worse than these."""


@dataclass(frozen=True)
class Quality:
    """A coarser graph against the float32 one on images that were tried."""

    comparison: Comparison

    @property
    def good(self) -> bool:
        """Whether it stays well within the gates."""
        return not dataclasses.replace(self.comparison, gates=within(self.comparison.gates, MARGIN)).shortfalls

    @property
    def warnings(self) -> tuple[str, ...]:
        """A sentence where the gates themselves are missed: `validate` is likely to fail."""
        return tuple(
            f"validate is likely to fail: {miss}; fp16 may suit this pruner better"
            for miss in self.comparison.shortfalls
        )

    @property
    def sentence(self) -> str:
        """The measured numbers."""
        compared = self.comparison
        parts = [f"{one.name} {one.mean:.3f} of float32's, {one.worst:.3f} at worst" for one in compared.worth]
        parts.append(f"kept-set Jaccard {compared.jaccard_mean:.3f}")
        parts += [] if compared.erank_error is None else [f"erank within {compared.erank_error:.1%}"]
        return ", ".join(parts)


class Trials:
    """What the float32 graph makes of images, once, and coarser graphs held against it.

    Args:
        graph: in float32.
        images: what is tried.
        gates: what is asked of a coarser one.
        device: where they are run.
    """

    def __init__(self, graph: PrunedFrontend, images: RangeImages, gates: Gates, device: str) -> None:
        pruner = graph.pruner
        name = type(pruner).__module__.rpartition(".")[2]
        record = PrunerRecord(name, dataclasses.asdict(pruner.config), {}, pruner.method.ascending)
        self._judge = judge_of(record, chaotic=pruner.method.chaotic, merges=pruner.method.merges)
        self._images, self._gates, self._device = images, self._judge.gates(gates), device
        eager, candidates = EagerSession(graph, device), graph.frontend.candidates
        self._cases: list[Case] = []
        with naming(images.names):
            for pixels in images.batches():
                for seen in eager.see(pixels):
                    name = images.names[len(self._cases)]
                    self._cases.append(self._judge.case(name, signals_of(seen.tokens, 0, candidates), seen.result))

    def of(self, graph: PrunedFrontend) -> Quality:
        """Of a coarser graph."""
        session, done = EagerSession(graph, self._device), 0
        tally = Tally(name="narrow", noise=Noise({}), gates=self._gates)
        with naming(self._images.names):
            for pixels in self._images.batches():
                for result in session(pixels):
                    case, done = self._cases[done], done + 1
                    self._judge.hold_numbers(tally, case, result)
        return Quality(tally.done())


def within(gates: Gates, share: float) -> Gates:
    """Gates of which only a share may be used up."""
    limits = {name: limit for name, limit in vars(gates).items() if limit and name != "explained"}
    narrower = {name: 1 - (1 - v) * share if name in AT_LEAST else v * share for name, v in limits.items()}
    return dataclasses.replace(gates, **narrower)


def fewest(holds: Callable[[int], bool], most: int) -> int:
    """The smallest number from 0 to `most` of which `holds` is true, by bisection; `most` where it is of none.

    Example:
        >>> fewest(lambda number: number >= 3, 8)
        3
    """
    if holds(0):
        return 0
    low, high = 0, most  # false at low; true at high, if anywhere
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high
