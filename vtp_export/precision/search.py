"""What a coarser graph makes of real images, how near that is to failing, and the fewest of a thing that it takes."""

import dataclasses
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from vtp_export.graphs.eager import EagerSession
from vtp_export.graphs.pruned import PrunedFrontend
from vtp_export.parity.gates import Gates
from vtp_export.parity.judge import Case, judge_of
from vtp_export.parity.noise import signals_of
from vtp_export.parity.tally import Tally
from vtp_export.parity.verdict import Comparison
from vtp_export.parity.witness import Noise
from vtp_export.precision.images import BATCH, RangeImages
from vtp_export.runtime.output import Kept, Output, naming
from vtp_export.spec import PrunerRecord

MARGIN = 0.5
"""Of every gate, this share may be used up on the images that are tried: others are worse than these."""

LARGEST = 1e9
"""A share that is none, of numbers that are not finite."""

RUNS = 128
"""So many images at most are run for groups of layers, one image for each group at least."""

MEANS = ("jaccard", "worth")
"""Gates that ask something of the mean over the images."""


@dataclass(frozen=True)
class Quality:
    """A coarser graph against the float32 one on images that were tried."""

    comparison: Comparison

    @property
    def good(self) -> bool:
        """Whether it stays well within the gates."""
        return self.share <= MARGIN

    @property
    def share(self) -> float:
        """Of the gate that is nearest to failing, how much is used up; beyond 1 it fails."""
        return max(shares(self.comparison).values(), default=0.0)

    @property
    def worst(self) -> float:
        """As `share`, of those gates alone that ask something of every image: more images cannot lower it."""
        return max((share for name, share in shares(self.comparison).items() if name not in MEANS), default=0.0)

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
        self._images, self._gates = images, self._judge.gates(gates)
        eager, candidates = EagerSession(graph, device), graph.frontend.candidates
        self._cases: list[Case] = []
        with naming(images.names):
            for pixels in images.batches():
                for seen in eager.see(pixels):
                    name = images.names[len(self._cases)]
                    self._cases.append(self._judge.case(name, signals_of(seen.tokens, 0, candidates), seen.result))

    def few(self, groups: int) -> int:
        """How many images are `some`: one of each batch, and fewer where every one is run for many groups of layers."""
        return max(1, min(-(-len(self._images.names) // BATCH), RUNS // groups))

    def some(self, groups: int) -> Iterator[tuple[int, np.ndarray]]:
        """Images spread over all, one after the other: its number and its pixels (1, 3, h, w)."""
        done, every = 0, -(-len(self._images.names) // BATCH) / self.few(groups)
        for batch, pixels in enumerate(self._images.batches()):
            if batch % every < 1:
                yield done, pixels[:1]
            done += len(pixels)

    def of(self, run: Callable[[np.ndarray], Output], limit: float = math.inf) -> Quality:
        """Of a coarser graph, (b, 3, h, w) to its outputs, on all images.

        Args:
            run: the graph.
            limit: the images that are left are not run once the worst so far use up more than this share of a gate.
        """
        tally, done = self.tally(), 0
        with naming(self._images.names):
            for pixels in self._images.batches():
                for result in run(pixels):
                    self.hold(tally, done, result)
                    done += 1
                if limit < math.inf and Quality(tally.done()).worst > limit:
                    break
        return Quality(tally.done())

    def tally(self) -> Tally:
        """For what `hold` adds."""
        return Tally(name="narrow", noise=Noise({}), gates=self._gates)

    def hold(self, tally: Tally, number: int, result: Kept) -> None:
        """Hold what a coarser graph made of the image of that number against what float32 made of it."""
        self._judge.hold_numbers(tally, self._cases[number], result)


def shares(compared: Comparison) -> dict[str, float]:
    """How much of each gate that is asked for is used up, by the names of `Gates`; beyond 1 it fails.

    Example:
        >>> from vtp_export.parity.gates import GATES
        >>> from vtp_export.parity.witness import Noise
        >>> tally = Tally(name="", noise=Noise({}), gates=GATES["int8"], images=1, overlaps=[0.97], erank=[0.05])
        >>> {name: round(share, 3) for name, share in shares(tally.done()).items()}
        {'jaccard': 0.2, 'erank': 0.5}
    """
    gates, values = compared.gates, compared.values
    low = {"jaccard": [compared.jaccard_mean]}
    high = {"erank": compared.erank_error, "entropy": compared.attention_entropy_error}
    low |= {"worth": [one.mean for one in compared.worth], "worth_worst": [one.worst for one in compared.worth]}
    if values is not None:
        low["cosine"] = [values.cosine_min]
        high["norm_ratio"] = float(np.max([1 - values.norm_ratio_min, values.norm_ratio_max - 1]))
        high["relative_error"] = values.relative_error
    used = {name: (1 - float(np.min(found))) / (1 - vars(gates)[name]) for name, found in low.items() if found}
    used = {name: share for name, share in used.items() if vars(gates)[name]}  # 0 asks for nothing
    used |= {name: error / vars(gates)[name] for name, error in high.items() if error is not None}
    return {name: float(np.nan_to_num(share, nan=LARGEST, posinf=LARGEST, neginf=0.0)) for name, share in used.items()}


def fewest(holds: Callable[[int], bool], most: int) -> int:
    """The smallest number from 1 to `most` of which `holds` is true, by bisection; `most` where it is of none.

    Example:
        >>> fewest(lambda number: number >= 3, 8)
        3
    """
    low, high = 0, most  # true at high, if anywhere
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high
