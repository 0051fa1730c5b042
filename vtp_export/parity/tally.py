"""One comparison in the making: images are added, and in the end a verdict comes out."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from vtp_export.parity.gates import GATES, Gates, jaccard
from vtp_export.parity.verdict import Comparison, Difference, values_of
from vtp_export.parity.witness import Noise, Witness


@dataclass
class Tally:
    """One comparison in the making."""

    name: str
    noise: Noise
    gates: Gates = GATES["fp32"]
    images: int = 0
    identical: int = 0
    overlaps: list[float] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)
    pairs: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)
    erank: list[float] = field(default_factory=list)
    entropy: list[float] = field(default_factory=list)

    def add_kept(
        self,
        image: str,
        expected: np.ndarray,
        found: np.ndarray,
        explain: Callable[[], Witness | None],
        mixed_alike: bool = True,
    ) -> None:
        """Count one image's selections; `explain` is asked only if they, or the mixtures, differ."""
        self.images += 1
        self.overlaps.append(jaccard(expected, found))
        if np.array_equal(expected, found) and mixed_alike:
            self.identical += 1
        else:
            ours, theirs = set(expected.tolist()), set(found.tolist())
            only = tuple(sorted(ours - theirs)), tuple(sorted(theirs - ours))
            self.differences.append(Difference(image, *only, explain()))

    def done(self) -> Comparison:
        """The finished comparison."""
        return Comparison(
            self.name,
            self.images,
            self.identical,
            float(np.mean(self.overlaps)) if self.overlaps else 1.0,
            self.noise,
            tuple(self.differences),
            values_of(self.pairs),
            max(self.erank, default=None),
            max(self.entropy, default=None),
            self.gates,
        )
