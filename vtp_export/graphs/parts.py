"""A graph taken apart: what each part of it makes, and what another graph makes of the same parts' results."""

import contextlib
from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor, nn

from vtp_export.functional.tokens import CARRIED, KINDS, Tokens
from vtp_export.graphs.pruned import PrunedFrontend
from vtp_export.graphs.signals import apart
from vtp_export.spec import TensorSpec

EMBEDDING = "embedding"
Change = Callable[[str, Tensor], Tensor]
"""From the name of a part of the tower and what it made to what the next part shall read."""


class Parts(nn.Module):
    """A graph that returns what its parts make: embedding, every block, the signals, and last its own outputs.

    Args:
        graph: left as it is.
    """

    def __init__(self, graph: PrunedFrontend) -> None:
        super().__init__()
        self.pruned = graph

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, ...]:
        """(b, 3, h, w) to all of them, in the order of `specs`."""
        seen: dict[str, Tensor] = {}

        def keep(name: str, made: Tensor) -> Tensor:
            seen[name] = made
            return made

        with watching(self.pruned, keep):
            tokens = self.pruned.encode(pixel_values)
        outputs = self.pruned.finish(tokens, self.pruned.pruner(tokens))
        return (*apart([*seen.values(), *signals_in(tokens).values()]), *outputs)

    @torch.inference_mode()
    def specs(self) -> tuple[TensorSpec, ...]:
        """Name, dtype and shape of each."""
        outputs = self.pruned.outputs
        made = self(torch.zeros(1, 3, *self.pruned.frontend.image_size))  # their widths are known nowhere else
        blocks = [f"block {i}" for i in range(1, len(self.pruned.frontend.blocks) + 1)]
        names = [EMBEDDING, *blocks]
        names += [name for name in (*KINDS, CARRIED) if name in signals_named(self.pruned)]
        parts = zip(names, made, strict=False)
        return (*(TensorSpec(name, "float32", ("b", *part.shape[1:])) for name, part in parts), *outputs)


def signals_named(graph: PrunedFrontend) -> frozenset[str]:
    """The signals that the graph's pruner reads, and what goes with them."""
    return graph.pruner.method.needs | {"hidden", *([CARRIED] if graph.frontend.planes else [])}


def signals_in(tokens: Tokens) -> dict[str, Tensor]:
    """Those that are there, by name."""
    return {name: signal for name in (*KINDS, CARRIED) if (signal := getattr(tokens, name)) is not None}


@contextlib.contextmanager
def watching(graph: PrunedFrontend, change: Change) -> Iterator[None]:
    """See what the parts of the tower make, and say what the next one shall read in its place."""
    frontend: nn.Module = graph.frontend  # type: ignore[assignment]
    blocks = [frontend.get_submodule(path) for path in graph.frontend.blocks]

    def before(module: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (change(EMBEDDING, given[0]), *given[1:])

    def after(name: str) -> Callable[..., object]:
        def hook(module: nn.Module, given: object, made: Tensor | tuple[Tensor, ...]) -> object:
            if isinstance(made, Tensor):
                return change(name, made)
            return (change(name, made[0]), *made[1:])

        return hook

    handles = [blocks[0].register_forward_pre_hook(before)]
    handles += [block.register_forward_hook(after(f"block {i}")) for i, block in enumerate(blocks, start=1)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@torch.inference_mode()
def part_by_part(graph: PrunedFrontend, pixels: Tensor, given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What each part of a graph makes of what another run gave it: an error stays in the part that made it.

    Args:
        graph: in whatever dtype.
        pixels: (b, 3, h, w), in the dtype of the graph.
        given: results of the other run, by the names of `Parts`.

    Returns:
        The tower's parts and the signals, by name.
    """
    made: dict[str, Tensor] = {}

    def change(name: str, result: Tensor) -> Tensor:
        made[name] = result
        return given[name].to(result)

    with watching(graph, change):
        tokens = graph.encode(pixels)
    return made | signals_in(tokens)
