"""How far rounding moves the signals that a pruner reads.

Measured on the very run that is judged, by running a few images again: in float64 or, for an artefact in less than
float32, as the eager graph in its precision, the twin.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from vtp_export.functional.precision import at_least_float32
from vtp_export.functional.similarity import cosine_distance
from vtp_export.functional.tokens import KINDS, Tokens
from vtp_export.graphs.eager import EagerSession
from vtp_export.parity.witness import Noise
from vtp_export.reference.base import Signals
from vtp_export.spec import Candidates


def signals_of(tokens: Tokens, image: int, candidates: Candidates) -> Signals:
    """One image's signals as float64 arrays."""

    def array(values: Tensor | None) -> np.ndarray | None:
        return None if values is None else values[image].double().cpu().numpy()

    arrays = {name: array(getattr(tokens, name)) for name in KINDS}
    return Signals(candidates=candidates, **arrays)  # type: ignore[arg-type]


def tower_noise(
    eager: EagerSession, pixels: np.ndarray, signals: Sequence[Tokens], twin: EagerSession | None = None
) -> Noise:
    """What a precision does to the signals: the same images through the same weights in another one.

    Args:
        eager: the graph in float32.
        pixels: (b, 3, h, w) a few images.
        signals: what `eager` makes of each of them.
        twin: the graph in the precision of an artefact; None asks for the noise of float32 itself, against float64.
    """
    other = EagerSession(eager.graph, eager.device, torch.float64) if twin is None else twin
    # One by one, because float64 is wide.
    others = [other.encode(pixels[i : i + 1]) for i in range(len(signals))]
    rows = [deviation(one, other) for one, other in zip(signals, others, strict=True)]
    # NumPy's maximum, because Python's may lose a NaN.
    return Noise({name: float(np.max([row.sizes[name] for row in rows])) for name in rows[0].sizes})


def deviation(tokens: Tokens, others: Tokens) -> Noise:
    """How far the signals of the same images lie apart; what stands beside the candidates decides nothing."""
    sizes = {}
    for name, kind in KINDS.items():
        pair = getattr(tokens, name), getattr(others, name)
        if kind != "beside" and all(signal is not None for signal in pair):
            one, other = (_distances(signal) if kind == "features" else signal.double() for signal in pair)
            sizes[name] = float((one - other).abs().max())
    return Noise(sizes)


HALF_UNIT = 2.0**-24
"""By how much of itself one rounding to float32 moves a number at most."""


def arithmetic_noise(tokens: Tokens) -> Noise:
    """What float32 does inside a pruner whose input is given.

    Of features, how far distances of the same ones lie apart in both widths. A weight of attention is read as it is,
    and the first sum or quotient of it is rounded: half a unit of the largest.
    """
    wide = Tokens(*(None if signal is None else signal.double() for signal in tokens))  # type: ignore[arg-type]
    sizes = deviation(tokens, wide).sizes
    for name in sizes:
        if KINDS[name] == "attention":
            sizes[name] = HALF_UNIT * float(getattr(wide, name).abs().max())
    return Noise(sizes)


def _distances(features: Tensor) -> Tensor:
    return cosine_distance(at_least_float32(features)).double()
