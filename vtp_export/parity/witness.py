"""Is a difference between two selections rounding, or a bug? A constructive answer.

A pruner is discontinuous: one unit in the last place may swap a token. So the rounding noise of the graph is measured
(`noise.py`), and a differing selection counts as *explained* only if a witness is found: the reference method, its
inputs moved by no more than that noise, decides exactly as the artefact did. The smallest such movement is the margin
of the decision. No witness, no explanation.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from vtp_export.functional.tokens import KINDS
from vtp_export.reference.base import Outcome, Settings, Signals

Select = Callable[[Signals, Settings], Outcome]

HEADROOM = 4.0
"""The other runtime's kernels round as much but elsewhere, and a few images do not show the worst case."""

SCALES = (1 / 64, 1 / 16, 1 / 4, 1.0)
DRAWS = 48
FEW_DRAWS = 4
"""Movements that are tried of each size: of a search that decides, and of one that only tells."""


@dataclass(frozen=True)
class Noise:
    """Largest deviation of each signal between precisions, headroom not included.

    sizes: by signal; of attention the absolute one of a single weight, of features that of a cosine distance between
        two tokens.
    """

    sizes: dict[str, float]

    def times(self, factor: float) -> "Noise":
        """As many times as large."""
        return Noise({name: size * factor for name, size in self.sizes.items()})

    @property
    def finite(self) -> bool:
        """Whether no signal overflows."""
        return all(map(math.isfinite, self.sizes.values()))


@dataclass(frozen=True)
class Witness:
    """A movement of the inputs that reproduces a selection.

    scale: its size as a share of the allowed noise (headroom included), at most 1.
    moved: how far each signal.
    """

    scale: float
    moved: Noise


def witness(  # noqa: PLR0913 (a keyword)
    select: Select,
    settings: Settings,
    signals: Signals,
    kept: np.ndarray,
    noise: Noise,
    complexities: Sequence[float],
    *,
    draws: int = DRAWS,
) -> Witness | None:
    """Look for a movement of the inputs within the noise that makes the reference keep `kept`.

    Args:
        select: the reference method.
        settings: of the pruner.
        signals: of one image.
        kept: (m,) what was kept instead of the reference's choice, in output order.
        noise: measured; the search goes up to `HEADROOM` times it.
        complexities: values of erank or entropy that were reported for this image; each was checked against the
            reference on its own, and any of them may be the one the decision was made with.
        draws: how many movements of each size are tried.
    """
    if not noise.finite:
        return None  # a precision that overflows explains nothing
    generator = np.random.default_rng(0)
    choices: list[float | None] = list(complexities) or [None]
    for scale in (0.0, *SCALES):
        size = noise.times(HEADROOM * scale)
        for draw in range(draws if scale else len(choices)):
            moved = _moved(signals, kept, size, generator, lean=draw % 2 == 0)
            moved = dataclasses.replace(moved, complexity=choices[draw % len(choices)])
            if np.array_equal(select(moved, settings).kept, kept):
                return Witness(scale, size)
    return None


def beside(found: Witness, moved: Noise, noise: Noise) -> Witness | None:
    """A witness whose search began at signals that were moved already: both movements together, if still allowed.

    Args:
        found: from there.
        moved: how far that start lies from the true signals.
        noise: measured; up to `HEADROOM` times it may be moved.
    """
    both = Noise({name: size + found.moved.sizes.get(name, 0.0) for name, size in moved.sizes.items()})
    if not both.finite:
        return None
    allowed = noise.times(HEADROOM).sizes
    shares = [size / allowed[name] if allowed.get(name) else math.inf for name, size in both.sizes.items() if size > 0]
    scale = max(shares, default=0.0)
    return Witness(scale, both) if scale <= 1 else None


def _moved(signals: Signals, kept: np.ndarray, size: Noise, generator: np.random.Generator, lean: bool) -> Signals:
    """Signals moved by at most `size`; `lean` pushes every weight of saliency towards what was kept."""
    if not any(size.sizes.values()):
        return signals
    favour = np.full(signals.n, -1.0)
    favour[kept[kept >= 0]] = 1.0  # -1: CLS, or another token without a place
    moved: dict[str, np.ndarray] = {}
    for name, kind in sorted(KINDS.items(), key=lambda signal: signal[0] != "saliency"):
        signal, most = getattr(signals, name), size.sizes.get(name, 0.0)
        if signal is None or kind == "beside":
            continue
        if kind == "features":
            moved[name] = _shaken(signal, most, generator)
        else:
            push = favour if lean and name == "saliency" else generator.uniform(-1, 1, signals.n)
            moved[name] = signal + most * push
    return dataclasses.replace(signals, **moved)  # type: ignore[arg-type]


def _shaken(features: np.ndarray, distance: float, generator: np.random.Generator) -> np.ndarray:
    """Features moved so that cosine distances move by about `distance`.

    A movement s per channel of unit vectors changes a cosine by s sqrt(2) in the mean square; dividing by 2 more
    keeps nearly every pair within the bound.
    """
    size = np.linalg.norm(features, axis=1, keepdims=True) * distance / (2 * np.sqrt(2))
    moved: np.ndarray = features + size * generator.standard_normal(features.shape)
    return moved
