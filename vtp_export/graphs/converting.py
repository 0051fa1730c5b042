"""A graph in another dtype without a second set of weights: each part is converted when it runs, and let go again."""

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from vtp_export.graphs.pruned import PrunedFrontend

Place = tuple[dict[str, Any], str, Tensor]
"""A dictionary of a module, a name in it, and the tensor that stands there in the graph's own dtype."""


def converting(graph: PrunedFrontend, dtype: torch.dtype) -> PrunedFrontend:
    """A copy of the structure, over the same weights.

    A part is a module with what is in it directly and in its children that have none: a block reads the weights of its
    layers, and hardly ever deeper.

    Args:
        graph: left as it is.
        dtype: of the weights of the front end while they are used; what the pruner holds is float32 at least.
    """
    graph = copy.deepcopy(graph, {id(tensor): tensor for tensor in (*graph.parameters(), *graph.buffers())})
    frontend: nn.Module = graph.frontend  # type: ignore[assignment]
    for module in frontend.modules():
        if module is not frontend:
            part = _Part(module, dtype)
            module.register_forward_pre_hook(part.begin)
            module.register_forward_hook(part.end, always_call=True)
    _Part(frontend, dtype).begin()  # it is called by other names than `forward`
    return graph


class _Part:
    """What is converted while a module runs, and what stood there before."""

    def __init__(self, module: nn.Module, dtype: torch.dtype) -> None:
        self._modules = (module, *(child for child in module.children() if not any(True for _ in child.children())))
        self._dtype, self._before = dtype, list[list[Place]]()

    def begin(self, *_: Any) -> None:
        self._before.append(list(self._others()))
        for held, name, tensor in self._before[-1]:
            wide = tensor.detach().to(self._dtype)
            held[name] = nn.Parameter(wide, requires_grad=False) if isinstance(tensor, nn.Parameter) else wide

    def end(self, *_: Any) -> None:
        for held, name, tensor in self._before.pop():
            held[name] = tensor

    def _others(self) -> Iterator[Place]:
        """Indices stay whole numbers, and what the part around has converted is right already."""
        for module in self._modules:
            for held in (module._parameters, module._buffers):
                for name, tensor in held.items():
                    if tensor is not None and tensor.is_floating_point() and tensor.dtype != self._dtype:
                        yield held, name, tensor
