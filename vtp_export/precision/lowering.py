"""A graph in less than float32: which layers are narrowed, and to what.

Only layers with weights (linear ones and convolutions), and the two products of attention between them, are narrowed.
What they return is widened where it is used: the residual stream, norms, softmax, activations, selection, entropy and
effective rank stay in float32. So precision is a property of the graph, and a runtime has nothing to decide.
"""

import copy
import dataclasses
from collections.abc import Mapping

import torch
from torch import nn

from vtp_export.functional.devices import dtype_of
from vtp_export.graphs.assembly import assemble
from vtp_export.graphs.pruned import PrunedFrontend
from vtp_export.models.base import LoadedModel
from vtp_export.precision.int8 import BlockInt8Layer, StaticInt8Layer
from vtp_export.precision.ranges import LayerRange
from vtp_export.spec import PrecisionRecord

HALVES = {"fp16": torch.float16, "bf16": torch.bfloat16}


class HalfLayer(nn.Module):
    """A layer whose weights, input and output are rounded to half precision; products are summed as the runtime does.

    Args:
        layer: an `nn.Linear` or `nn.Conv2d`, which is left as it is.
        dtype: torch.float16 or torch.bfloat16.
    """

    def __init__(self, layer: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.layer, self.dtype = copy.deepcopy(layer).to(dtype), dtype

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Of any floating dtype, to `dtype`."""
        narrow: torch.Tensor = self.layer(x.to(self.dtype))
        return narrow


def weighted_layers(graph: nn.Module) -> dict[str, nn.Linear | nn.Conv2d]:
    """Layers that can be narrowed, by their path in the graph."""
    return {name: module for name, module in graph.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)}


def lowered(
    graph: PrunedFrontend, precision: PrecisionRecord, ranges: Mapping[str, LayerRange] | None = None
) -> PrunedFrontend:
    """The graph in a precision: a copy that shares what is not narrowed, or in fp32 the graph itself.

    Args:
        graph: in float32.
        precision: what to narrow.
        ranges: what the layers read, by path; needed by static int8 alone.
    """
    if precision.name == "fp32":
        return graph
    shared = {id(tensor): tensor for tensor in (*graph.parameters(), *graph.buffers())}
    graph = copy.deepcopy(graph, shared)
    for name, layer in weighted_layers(graph).items():
        if name not in precision.float32_layers:
            parent, _, own = name.rpartition(".")
            holder = graph.get_submodule(parent)
            holder._modules[own] = _narrowed(layer, precision, ranges, name)
    dtype = getattr(torch, precision.tokens_dtype)
    return PrunedFrontend(graph.frontend, graph.pruner, dtype).requires_grad_(False).eval()


def loaded_in(model: LoadedModel, dtype: str) -> LoadedModel:
    """The same model computing in another dtype, for what torch runs without a file.

    Args:
        model: in float32; left as it is.
        dtype: "float32", "float16" or "bfloat16".

    Raises:
        UnknownNameError: another dtype.
    """
    name = {kind: name for name, kind in HALVES.items()}.get(dtype_of(dtype))
    if name is None:
        return model
    graph = lowered(assemble(model, "none", {}).graph, PrecisionRecord(name=name))
    return dataclasses.replace(model, module=graph.get_submodule("frontend"))


def _narrowed(
    layer: nn.Linear | nn.Conv2d, precision: PrecisionRecord, ranges: Mapping[str, LayerRange] | None, name: str
) -> nn.Module:
    if isinstance(layer, nn.Conv2d) and precision.name != "fp16":
        return layer  # one small layer that all others depend on; and ONNX has no bfloat16 convolution before opset 22
    if precision.name in HALVES:
        return HalfLayer(layer, HALVES[precision.name])
    assert isinstance(layer, nn.Linear)
    if precision.block is not None:
        return BlockInt8Layer(layer, precision.block)
    assert ranges is not None
    if name not in ranges:
        return layer  # nothing passes through it: a budget of all tokens leaves unread what the pruner would have read
    return StaticInt8Layer(layer, ranges[name].channels)
