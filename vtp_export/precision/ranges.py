"""How large the numbers of a graph become on real images: what half precision must hold, and int8 must reach."""

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn


@dataclass
class LayerRange:
    """Largest magnitudes seen at one layer.

    channels: (in,) of its input, by channel; a convolution's input counts as one channel.
    reads, returns: of its input and output.
    """

    channels: Tensor
    reads: float = 0.0
    returns: float = 0.0


def measured(graph: nn.Module, batches: Iterable[np.ndarray]) -> dict[str, LayerRange]:
    """Run images through a float32 graph and watch every layer that has weights.

    Of attention, `q_proj` and `k_proj` of a module with `heads` are also said to return what bounds the logits, the
    longest query times the longest key: the product itself is never looked at.

    Args:
        graph: its parameters are left alone.
        batches: of pixels (b, 3, h, w).

    Returns:
        By path of the layer in the graph; under "" what the graph itself returns as tokens.
    """
    found: dict[str, LayerRange] = {}
    with contextlib.ExitStack() as stack, torch.inference_mode():
        for name, module in graph.named_modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                stack.enter_context(_watched(name, module, found))
        for name, module in graph.named_modules():  # after the layers, whose hooks make the entries
            if hasattr(module, "heads") and hasattr(module, "q_proj"):
                stack.enter_context(_watched_logits(name, module, found))
        tokens = LayerRange(torch.zeros(0))
        for pixels in batches:
            tokens.returns = max(tokens.returns, float(graph(torch.from_numpy(pixels))[0].abs().amax()))
    return {**found, "": tokens}


@contextlib.contextmanager
def _watched(name: str, layer: nn.Module, found: dict[str, LayerRange]) -> Iterator[None]:
    def look(_: nn.Module, given: tuple[Tensor, ...], result: Tensor) -> None:
        x = given[0].abs()
        channels = x.flatten(0, -2).amax(0) if isinstance(layer, nn.Linear) else x.amax()[None]
        seen = found.setdefault(name, LayerRange(torch.zeros_like(channels)))
        seen.channels = torch.maximum(seen.channels, channels)
        seen.reads = max(seen.reads, float(channels.amax()))
        seen.returns = max(seen.returns, float(result.abs().amax()))

    handle = layer.register_forward_hook(look)
    try:
        yield
    finally:
        handle.remove()


@contextlib.contextmanager
def _watched_logits(name: str, attention: nn.Module, found: dict[str, LayerRange]) -> Iterator[None]:
    longest: dict[str, Tensor] = {}

    def look(which: str, result: Tensor) -> None:
        heads = result.unflatten(-1, (attention.heads, -1))
        longest[which] = heads.norm(dim=-1).flatten(0, -2).amax(0)  # (heads,)
        if len(longest) == 2:
            bound = float((longest["q_proj"] * longest["k_proj"]).amax()) * heads.shape[-1] ** -0.5
            for own in longest:
                layer = found[f"{name}.{own}"]
                layer.returns = max(layer.returns, bound)
            longest.clear()

    handles = [
        attention.get_submodule(which).register_forward_hook(lambda _, __, result, which=which: look(which, result))
        for which in ("q_proj", "k_proj")
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
