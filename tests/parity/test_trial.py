"""A trial: what a format measures is held against the reference, not against another rounding."""

import dataclasses

import numpy as np
import pytest

from vtp_export.graphs.assembly import assemble, load_model
from vtp_export.graphs.eager import EagerSession
from vtp_export.parity.trial import Trial
from vtp_export.runtime.output import Output
from vtp_export.spec import PrecisionRecord


class Moved:
    """The eager graph, whose effective rank is off by a share."""

    def __init__(self, session, share):
        self._session, self._share = session, share

    def __getattr__(self, name):
        return getattr(self._session, name)

    def seen(self, tokens):
        seen = self._session.seen(tokens)
        return [dataclasses.replace(s, result=_moved(s.result, self._share)) for s in seen]


def _moved(result, share):
    return dataclasses.replace(result, erank=result.erank * (1 + share))


@pytest.mark.parametrize(
    ("graph", "of_format", "passes"), [(1.5e-4, -1.5e-4, True), (0, 3e-4, False), (3e-4, 0, False)]
)
def test_two_roundings_of_the_effective_rank_may_lie_on_either_side_of_it(graph, of_format, passes):
    assembly = assemble(load_model("tiny-llava", {"projected", "saliency"}), "adaptive", {"keep": 16})
    eager = EagerSession(assembly.graph)
    pixels = np.random.default_rng(0).standard_normal((2, 3, *assembly.layout.image_size), dtype=np.float32)
    trial = Trial(
        eager=Moved(eager, graph),
        pruner=assembly.pruner,
        layout=assembly.layout,
        precision=PrecisionRecord(),
        twin=None,
        pixels=pixels,
    )
    output = Output.of(eager.run({"pixel_values": pixels}))
    output = dataclasses.replace(output, erank=(output.erank * (1 + of_format)).astype(np.float32))
    trial.add(["one", "two"], pixels, {"onnx": output})
    assert all(comparison.passed for comparison in trial.done()) == passes
