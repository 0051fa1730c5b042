"""Is a difference between two selections rounding, or a bug? A constructive answer.

A pruner is discontinuous: one unit in the last place may swap a token. So the rounding noise of the graph is measured
on this very run, by running a few images again in float64; and a differing selection counts as *explained* only if
a witness is found: the reference method, its inputs moved by no more than that noise, decides exactly as
the artefact did. The smallest such movement is the margin of the decision. No witness, no explanation.
"""

import copy
import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vtp_export.functional.similarity import cosine_distance
from vtp_export.functional.tokens import Tokens
from vtp_export.graphs.pruned import PrunedFrontend
from vtp_export.reference.base import Outcome, Settings, Signals

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


def signals_of(tokens: Tokens, image: int) -> Signals:
    """One image's signals as float64 arrays."""

    def array(values: Tensor | None) -> np.ndarray | None:
        return None if values is None else values[image].double().numpy()

    return Signals(**{name: array(signal) for name, signal in tokens._asdict().items()})  # type: ignore[arg-type]


def tower_noise(graph: PrunedFrontend, pixels: Tensor) -> Noise:
    """What float32 does to the signals: the same images through the same weights in float64.

    Args:
        graph: the eager graph in float32.
        pixels: (b, 3, h, w) a few images.
    """
    with torch.inference_mode():
        wide_graph = copy.deepcopy(graph).double()
        saliency = distance = 0.0
        for image in pixels.split(1):
            narrow, wide = graph.encode(image), wide_graph.encode(image.double())
            for mine, theirs in zip(narrow, wide, strict=True):
                if mine is not None and theirs is not None and mine.dim() == 2:  # attention of one kind or another
                    saliency = max(saliency, float((mine.double() - theirs).abs().max()))
            distance = max(distance, float((_distances(narrow) - _distances(wide)).abs().max()))
    return Noise(saliency, distance)


def arithmetic_noise(tokens: Tokens) -> Noise:
    """What float32 does inside a pruner whose input is given: distances of the same features in both widths."""
    wide = tokens._replace(
        hidden=tokens.hidden.double(), projected=None if tokens.projected is None else tokens.projected.double()
    )
    return Noise(0.0, float((_distances(tokens) - _distances(wide)).abs().max()))


def _distances(tokens: Tokens) -> Tensor:
    features = tokens.hidden if tokens.projected is None else tokens.projected
    return cosine_distance(features).double()


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
