"""Is a difference between two selections rounding, or a bug? A constructive answer.

A pruner is discontinuous: one unit in the last place may swap a token. So the rounding noise of the graph is measured
on this very run, by running a few images again, in float64 or, for an artefact in less than float32, as the eager graph
in its precision, the twin; and a differing selection counts as *explained* only if a witness is found: the reference
method, its inputs moved by no more than that noise, decides exactly as the artefact did. The smallest such movement is
the margin of the decision. No witness, no explanation.
"""

import copy
import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vtp_export.functional.precision import at_least_float32
from vtp_export.functional.similarity import cosine_distance
from vtp_export.functional.tokens import Tokens
from vtp_export.graphs.pruned import PrunedFrontend
from vtp_export.reference.base import Outcome, Settings, Signals
from vtp_export.spec import Candidates

Select = Callable[[Signals, Settings], Outcome]

HEADROOM = 4.0
"""The other runtime's kernels round as much but elsewhere, and a few images do not show the worst case."""

SCALES = (1 / 64, 1 / 16, 1 / 4, 1.0)
DRAWS = 48


@dataclass(frozen=True)
class Noise:
    """Largest deviation seen between precisions, headroom not included.

    saliency: absolute, of a single weight of attention.
    distance: absolute, of a cosine distance between two tokens.
    """

    saliency: float
    distance: float


@dataclass(frozen=True)
class Witness:
    """A movement of the inputs that reproduces a selection.

    scale: its size as a share of the allowed noise (headroom included), at most 1.
    saliency, distance: the same in the units of `Noise`.
    """

    scale: float
    saliency: float
    distance: float


def signals_of(tokens: Tokens, image: int, candidates: Candidates) -> Signals:
    """One image's signals as float64 arrays."""

    def array(values: Tensor | None) -> np.ndarray | None:
        return None if values is None else values[image].double().numpy()

    arrays = {name: array(signal) for name, signal in tokens._asdict().items()}
    return Signals(candidates=candidates, **arrays)  # type: ignore[arg-type]


def tower_noise(graph: PrunedFrontend, pixels: Tensor, twin: PrunedFrontend | None = None) -> Noise:
    """What a precision does to the signals: the same images through the same weights in another one.

    Args:
        graph: the eager graph in float32.
        pixels: (b, 3, h, w) a few images.
        twin: the graph in the precision of an artefact; None asks for the noise of float32 itself, against float64.
    """
    with torch.inference_mode():
        other = copy.deepcopy(graph).double() if twin is None else twin
        dtype = torch.float64 if twin is None else torch.float32
        found = [deviation(graph.encode(image), other.encode(image.to(dtype))) for image in pixels.split(1)]
    # NumPy's maximum, because Python's may lose a NaN.
    return Noise(*(float(np.max(column)) for column in zip(*map(dataclasses.astuple, found), strict=True)))


def deviation(tokens: Tokens, others: Tokens) -> Noise:
    """How far the signals of the same images lie apart."""
    saliency = 0.0
    for mine, theirs in zip(tokens, others, strict=True):
        if mine is not None and theirs is not None and mine.dim() == 2:  # attention of one kind or another
            saliency = float(np.maximum(saliency, float((mine.double() - theirs.double()).abs().max())))
    return Noise(saliency, float((_distances(tokens) - _distances(others)).abs().max()))


def arithmetic_noise(tokens: Tokens) -> Noise:
    """What float32 does inside a pruner whose input is given: distances of the same features in both widths."""
    wide = tokens._replace(
        hidden=tokens.hidden.double(), projected=None if tokens.projected is None else tokens.projected.double()
    )
    return Noise(0.0, float((_distances(tokens) - _distances(wide)).abs().max()))


def _distances(tokens: Tokens) -> Tensor:
    features = tokens.hidden if tokens.projected is None else tokens.projected
    return cosine_distance(at_least_float32(features)).double()


def witness(
    select: Select, settings: Settings, signals: Signals, kept: np.ndarray, noise: Noise, complexities: Sequence[float]
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
    """
    if not math.isfinite(noise.saliency + noise.distance):
        return None  # a precision that overflows explains nothing
    generator = np.random.default_rng(0)
    choices: list[float | None] = list(complexities) or [None]
    for scale in (0.0, *SCALES):
        size = Noise(noise.saliency * HEADROOM * scale, noise.distance * HEADROOM * scale)
        for draw in range(DRAWS if scale else len(choices)):
            moved = _moved(signals, kept, size, generator, lean=draw % 2 == 0)
            moved = dataclasses.replace(moved, complexity=choices[draw % len(choices)])
            if np.array_equal(select(moved, settings).kept, kept):
                return Witness(scale, size.saliency, size.distance)
    return None


def beside(found: Witness, moved: Noise, noise: Noise) -> Witness | None:
    """A witness whose search began at signals that were moved already: both movements together, if still allowed.

    Args:
        found: from there.
        moved: how far that start lies from the true signals.
        noise: measured; up to `HEADROOM` times it may be moved.
    """
    saliency, distance = found.saliency + moved.saliency, found.distance + moved.distance
    shares = [
        size / (HEADROOM * allowed) if allowed else math.inf
        for size, allowed in ((saliency, noise.saliency), (distance, noise.distance))
        if size > 0
    ]
    scale = max(shares, default=0.0)
    return Witness(scale, saliency, distance) if scale <= 1 and math.isfinite(saliency + distance) else None


def _moved(signals: Signals, kept: np.ndarray, size: Noise, generator: np.random.Generator, lean: bool) -> Signals:
    """Signals moved by at most `size`; `lean` pushes every weight of attention towards what was kept."""
    if size.saliency == size.distance == 0:
        return signals
    saliency = signals.saliency
    if saliency is not None:
        favour = np.full(signals.n, -1.0)
        favour[kept[kept >= 0]] = 1.0  # -1: CLS, or another token without a place
        push = favour if lean else generator.uniform(-1, 1, signals.n)
        saliency = saliency + size.saliency * push
    moved: dict[str, np.ndarray | None] = {"saliency": saliency}
    for name, signal in vars(signals).items():
        if isinstance(signal, np.ndarray) and name != "saliency":
            if signal.ndim == 2:
                moved[name] = _shaken(signal, size.distance, generator)
            else:
                moved[name] = signal + size.saliency * generator.uniform(-1, 1, signal.shape)
    return dataclasses.replace(signals, **moved)  # type: ignore[arg-type]


def _shaken(features: np.ndarray, distance: float, generator: np.random.Generator) -> np.ndarray:
    """Features moved so that cosine distances move by about `distance`.

    A movement s per channel of unit vectors changes a cosine by s sqrt(2) in the mean square; dividing by 2 more
    keeps nearly every pair within the bound.
    """
    size = np.linalg.norm(features, axis=1, keepdims=True) * distance / (2 * np.sqrt(2))
    moved: np.ndarray = features + size * generator.standard_normal(features.shape)
    return moved
