"""Where a runtime leaves the graph: it returns what every part made, and each part is judged by what it was given.

The graph is built once more, with all its parts as outputs. Each part of the eager graph then computes from what the
runtime itself gave it: so an error shows in the part that made it, and not in all that come after. It is held against
the rounding noise of that part, which is how far the eager graph in float64 (or, for an artefact in less than float32,
in float32) is from it on the same input.
"""

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor

from vtp_export.functional.tokens import CARRIED, KINDS, Selection, Tokens
from vtp_export.graphs.eager import EagerSession
from vtp_export.graphs.parts import part_by_part
from vtp_export.parity.gates import Gates
from vtp_export.parity.judge import Judge
from vtp_export.parity.noise import arithmetic_noise, signals_of
from vtp_export.parity.parts import FACTOR, Part
from vtp_export.parity.tally import Tally
from vtp_export.runtime.output import Output
from vtp_export.runtime.session import Session
from vtp_export.spec import Layout

LEAST = 4 * float(np.finfo(np.float32).eps)
"""Noise is taken for no less, as a share of the largest number of a part: one rounding or two."""


def bisected(
    session: Session,
    pixels: np.ndarray,
    graphs: tuple[EagerSession, EagerSession],
    judge: Judge,
    layout: Layout,
    gates: Gates,
) -> tuple[Part, ...]:
    """Judge every part, in the order in which they are computed.

    Args:
        session: of `graphs.parts.Parts`.
        pixels: (b, 3, h, w) a few images.
        graphs: the eager graph in the artefact's precision; and in float32, or for such an artefact in float64.
        judge: of the pruner.
        layout: of the model.
        gates: of the precision; they judge what comes after the signals.
    """
    given = session.run({"pixel_values": pixels})
    tensors = {key: torch.from_numpy(array) for key, array in given.items()}
    made = [_made(one, pixels, tensors) for one in graphs]
    parts = [_part(key, given[key], made[0][key], made[1][key]) for key in made[0]]
    return (*parts, *_after(graphs[0], given, judge, layout, gates))


def _made(session: EagerSession, pixels: np.ndarray, given: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    dtype = session.dtype
    parts = part_by_part(session.graph, torch.from_numpy(pixels).to(session.device, dtype), given)
    return {name: part.double().cpu().numpy() for name, part in parts.items()}


def _part(name: str, found: np.ndarray, expected: np.ndarray, other: np.ndarray) -> Part:
    largest = float(np.abs(expected).max())
    noise = max(float(np.abs(expected - other).max()), LEAST * largest)
    name = f"signal {name}" if name in KINDS else name
    return Part(name, float(np.abs(found - expected).max()), FACTOR * noise)


def _after(
    eager: EagerSession, given: Mapping[str, np.ndarray], judge: Judge, layout: Layout, gates: Gates
) -> Iterator[Part]:
    """Complexity, selection, gather and projection, of the signals that the runtime itself has given."""
    names = [name for name in (*KINDS, CARRIED) if name in given]
    signals = {name: torch.from_numpy(given[name]).to(eager.device, eager.dtype) for name in names}
    tokens = Tokens(**signals)
    found = Output.of({spec.name: given[spec.name] for spec in eager.outputs})
    expected = eager.finish(tokens)
    if expected.erank is not None and found.erank is not None:
        error = float(np.abs(found.erank / expected.erank - 1).max())
        yield Part("complexity", error, gates.erank)
    if expected.attention_entropy is not None and found.attention_entropy is not None:
        error = float(np.abs(found.attention_entropy - expected.attention_entropy).max())
        yield Part("complexity", error, gates.entropy)
    tally = Tally(name="selection", noise=arithmetic_noise(tokens), gates=gates)
    for i in range(len(found)):
        case = judge.case(f"image {i + 1}", signals_of(tokens, i, layout.candidates), expected[i])
        judge.hold_format(tally, case, found[i])
    unexplained = sum(difference.witness is None for difference in tally.differences)
    if not judge.chaotic:
        yield Part("selection", float(unexplained), 0.0)
    if not judge.merges:
        rows = eager.finished(tokens, Selection(torch.from_numpy(np.maximum(found.kept, 0)).to(eager.device)))
        real = np.arange(layout.slots) < found.num_kept[:, None]
        error = float(np.abs(np.where(real[..., None], rows - found.tokens, 0)).max())
        yield Part("gather and projection", error, gates.relative_error * float(np.abs(rows).max()))
