"""What weights of 4 and 8 bits in the projector alone would cost: shares of the gates of int8 that are used up.

python -m bench.int4        tiny-llava, adaptive, 64 tokens, the default photographs; a minute
"""

import copy

import torch
from torch import nn

from bench.frontend import table
from vtp_export.graphs.assembly import assemble, load_model, needs_of
from vtp_export.graphs.eager import EagerSession
from vtp_export.graphs.pruned import PrunedFrontend
from vtp_export.parity.gates import GATES
from vtp_export.precision.images import range_images
from vtp_export.precision.search import Trials, shares

MODEL, PRUNER, SETTINGS, IMAGES = "tiny-llava", "adaptive", {"keep": 64}, 18
FORMS = [(bits, block) for bits in (8, 4) for block in (16, 32, 128)]


def rounded(weight: torch.Tensor, bits: int, block: int) -> torch.Tensor:
    """Weights (out, in) on a symmetric grid, a scale for each block of neighbouring input channels."""
    steps, count = 2 ** (bits - 1) - 1, -(-weight.shape[1] // block)
    split = nn.functional.pad(weight, (0, count * block - weight.shape[1])).unflatten(1, (count, block))
    step = split.abs().amax(2, keepdim=True).clamp(min=1e-12) / steps
    result: torch.Tensor = ((split / step).round() * step).flatten(1)[:, : weight.shape[1]].contiguous()
    return result


def with_rounded_projector(graph: PrunedFrontend, bits: int, block: int) -> EagerSession:
    """The graph, its projector's weights rounded, all else in float32."""
    other = copy.deepcopy(graph)
    for module in other.get_submodule("frontend.projector").modules():
        if isinstance(module, nn.Linear):
            module.weight.data = rounded(module.weight.data, bits, block)
    return EagerSession(other)


def main() -> None:
    """A table."""
    model = load_model(MODEL, needs_of(PRUNER, SETTINGS))
    graph = assemble(model, PRUNER, SETTINGS).graph
    trials = Trials(graph, range_images("photos", IMAGES, model.preprocessing), GATES["int8"], "cpu")
    rows: list[tuple[object, ...]] = []
    for bits, block in FORMS:
        compared = trials.of(with_rounded_projector(graph, bits, block)).comparison
        used, values = shares(compared), compared.values
        assert values is not None
        nearest = max(used, key=lambda gate: used[gate])
        rows.append(
            (bits, block, compared.jaccard_mean, values.cosine_min, values.relative_error, nearest, used[nearest])
        )
    columns = ("bits", "block", "Jaccard", "least cosine", "error", "nearest gate", "share of it")
    table("Projector's weights alone", columns, rows)


if __name__ == "__main__":
    main()
