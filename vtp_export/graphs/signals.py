"""A graph that returns what its pruner sees, after its outputs: what `explain` reads of any photo."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vtp_export.functional.tokens import KINDS
from vtp_export.graphs.pruned import PrunedFrontend
from vtp_export.spec import TensorSpec


class WithSignals(nn.Module):
    """The same graph, and signals as float32.

    They are made anyway: where nobody asks for them they are only not let go as early.

    Args:
        graph: left as it is.
        names: of the signals, fields of `Tokens`.
    """

    def __init__(self, graph: PrunedFrontend, names: Sequence[str]) -> None:
        super().__init__()
        self.pruned, self.names = graph, tuple(names)

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, ...]:
        """(b, 3, h, w) to the outputs of the graph, and the signals."""
        tokens = self.pruned.encode(pixel_values)
        signals = apart([getattr(tokens, name) for name in self.names])
        return (*self.pruned.finish(tokens, self.pruned.pruner(tokens)), *signals)


def apart(tensors: Sequence[Tensor]) -> list[Tensor]:
    """As float32, and no tensor twice: where nothing projects, "projected" is "hidden", and an output has one name."""
    first = [all(tensor is not other for other in tensors[:i]) for i, tensor in enumerate(tensors)]
    return [tensor.float() if own else tensor.float().clone() for tensor, own in zip(tensors, first, strict=True)]


@torch.inference_mode()
def signals_of(graph: PrunedFrontend) -> tuple[TensorSpec, ...]:
    """What such a graph returns besides: what the method reads of each token, and the features that it chooses from."""
    method = graph.pruner.method
    tokens = graph.encode(torch.zeros(1, 3, *graph.frontend.image_size))  # their widths are known nowhere else
    names = {name for name in method.needs if KINDS[name] != "beside"} | {method.stage}
    shapes = {name: tuple(getattr(tokens, name).shape[1:]) for name in KINDS if name in names}
    return tuple(TensorSpec(name, "float32", ("b", *shape)) for name, shape in shapes.items())
