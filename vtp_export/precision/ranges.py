"""How large the numbers of a graph become on real images: what half precision must hold, and int8 must reach."""

import contextlib
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from vtp_export.errors import ModelError, OutputError
from vtp_export.graphs.pruned import PrunedFrontend
from vtp_export.manifests import FEATURES
from vtp_export.models.base import AttentionGroup


@dataclass
class LayerRange:
    """Largest magnitudes seen at one layer.

    channels: (in,) of its input, by channel; a convolution's input counts as one channel.
    reads, returns: of its input and output.
    """

    channels: Tensor
    reads: float = 0.0
    returns: float = 0.0


def measured(graph: PrunedFrontend, batches: Iterable[np.ndarray]) -> dict[str, LayerRange]:
    """Run images through a float32 graph and watch every layer that has weights.

    Of attention, the layers of queries and keys are also said to return what bounds the logits, the longest query times
    the longest key: the product itself is never looked at.

    Args:
        graph: its parameters are left alone; it is run where they are.
        batches: of pixels (b, 3, h, w).

    Returns:
        By path of the layer in the graph, on the CPU; under "" what the graph itself returns to the language model.

    Raises:
        OutputError: the tokens of an image are not finite; names its position among all images.
        ModelError: what a layer reads or returns is not finite.
    """
    found: dict[str, LayerRange] = {}
    place = next((weight.device for weight in graph.parameters()), torch.device("cpu"))
    with contextlib.ExitStack() as stack, torch.inference_mode():
        for name, module in graph.named_modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                stack.enter_context(_watched(name, module, found))
        for group in graph.frontend.groups:  # after the layers, whose hooks make the entries
            stack.enter_context(_watched_logits(graph, group, found))
        tokens, done, names = LayerRange(torch.zeros(0)), 0, [spec.name for spec in graph.outputs]
        for pixels in batches:
            results = dict(zip(names, graph(torch.from_numpy(pixels).to(place)), strict=True))
            read = [results[name].abs().flatten(1).amax(1) for name in FEATURES if name in results]
            largest = torch.stack(read).amax(0).cpu()  # (b,)
            if wrong := [done + i for i, value in enumerate(largest.tolist()) if not math.isfinite(value)]:
                raise OutputError("tokens", wrong)
            tokens.returns, done = _larger(tokens.returns, largest.amax()), done + len(pixels)
    for name, seen in found.items():
        if not math.isfinite(seen.reads + seen.returns):
            raise ModelError(
                f"{name} reads or returns numbers that are not finite, in float32: its weights are damaged"
            )
    return {**found, "": tokens}


def _larger(known: float, value: Tensor) -> float:
    """NumPy's maximum, because Python's may lose a NaN."""
    return float(np.maximum(known, float(value)))


@contextlib.contextmanager
def _watched(name: str, layer: nn.Module, found: dict[str, LayerRange]) -> Iterator[None]:
    def look(_: nn.Module, given: tuple[Tensor, ...], result: Tensor) -> None:
        x = given[0].abs()
        channels = x.flatten(0, -2).amax(0) if isinstance(layer, nn.Linear) else x.amax()[None]
        channels = channels.cpu()
        seen = found.setdefault(name, LayerRange(torch.zeros_like(channels)))
        seen.channels = torch.maximum(seen.channels, channels)
        seen.reads = _larger(seen.reads, channels.amax())
        seen.returns = _larger(seen.returns, result.abs().amax())

    handle = layer.register_forward_hook(look)
    try:
        yield
    finally:
        handle.remove()


@contextlib.contextmanager
def _watched_logits(graph: PrunedFrontend, group: AttentionGroup, found: dict[str, LayerRange]) -> Iterator[None]:
    names = [f"frontend.{path}" for path in group.layers]
    parts = 3 // len(names)  # of what one layer returns: all three of query, key and value, or one of them
    returned: dict[str, Tensor] = {}

    def look(name: str, result: Tensor) -> None:
        returned[name] = result
        if len(returned) < len(names):
            return
        query, key, _ = (part for own in names for part in returned[own].chunk(parts, dim=-1))
        returned.clear()
        bound = float((_longest(query, group.heads) * _longest(key, group.heads)).amax())
        bound *= (query.shape[-1] // group.heads) ** -0.5
        for own in names[:2]:
            found[own].returns = max(found[own].returns, bound)

    handles = [
        graph.get_submodule(name).register_forward_hook(lambda _, __, result, name=name: look(name, result))
        for name in names
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _longest(vectors: Tensor, heads: int) -> Tensor:
    """Length of the longest vector of each head: (b, m, heads * dh) to (heads,)."""
    longest: Tensor = vectors.unflatten(-1, (heads, -1)).norm(dim=-1).flatten(0, -2).amax(0)
    return longest
