"""The contract of a reference file: one image at a time, float64, as the paper writes it.

A file `reference/NAME.py`, named after the pruner it is the oracle of, defines
`select(signals, settings) -> Outcome`, where `settings` are those of the pruner's manifest record.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

Settings = Mapping[str, bool | int | float | str | None]


@dataclass(frozen=True)
class Signals:
    """What a pruner may look at, for one image.

    hidden: (n, dv); projected: (n, d) or None; saliency: (n,) or None.
    complexity: replaces the measured complexity of the image when it is known, or None to measure it.
    """

    hidden: np.ndarray
    projected: np.ndarray | None = None
    saliency: np.ndarray | None = None
    complexity: float | None = None

    @property
    def n(self) -> int:
        """How many candidates."""
        return int(self.hidden.shape[0])


@dataclass(frozen=True)
class Outcome:
    """What a method decided for one image.

    kept: (m,) positions in output order, m the number kept.
    complexity: erank or attention entropy, whichever the method measured, or None.
    """

    kept: np.ndarray
    complexity: float | None = None


def descending(scores: np.ndarray) -> list[int]:
    """Positions by descending score, ties to the lowest position."""
    return sorted(range(len(scores)), key=lambda i: (-scores[i], i))
