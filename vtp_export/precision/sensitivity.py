"""What each group of layers loses when it alone is narrow, and the graph with any of them narrow.

The float32 graph runs once on an image and is watched; then, for each group, the blocks before it only repeat what they
made, so that a group costs what comes after it.
"""

import contextlib
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np
from torch import nn

from vtp_export.graphs.eager import EagerSession
from vtp_export.graphs.pruned import PrunedFrontend
from vtp_export.precision.lowering import weighted_layers
from vtp_export.precision.search import Quality, Trials
from vtp_export.precision_plans import Sensitivity
from vtp_export.progress import Progress
from vtp_export.runtime.output import Output


class Mixture:
    """A graph of which every group of layers can be narrow or wide, and none has to be narrowed anew.

    Args:
        wide: in float32; changed while it is in use.
        narrow: the same with all layers narrow that may be.
        device: where they are run.
    """

    def __init__(self, wide: PrunedFrontend, narrow: PrunedFrontend, device: str) -> None:
        self.groups = groups_of(wide)
        self._session, others = EagerSession(wide, device), EagerSession(narrow, device).graph
        self._graph = self._session.graph
        self._narrow = {layer: others.get_submodule(layer) for layers in self.groups.values() for layer in layers}

    def __call__(self, pixels: np.ndarray, wide: Collection[str]) -> Output:
        """Run (b, 3, h, w) with these layers wide and the others narrow."""
        with _standing_in(self._graph, {name: one for name, one in self._narrow.items() if name not in wide}):
            return self._session(pixels)

    def alone(self, pixels: np.ndarray) -> Iterator[tuple[str, Output]]:
        """Each group, and the outputs when it alone is narrow."""
        made, begins = self._watched(pixels)
        for group, layers in self.groups.items():
            unmoved = list(made.items())[: min(begins.get(layer, len(made)) for layer in layers)]
            modules = {path: _Repeat(result) for path, result in unmoved}
            with _standing_in(self._graph, {**modules, **{layer: self._narrow[layer] for layer in layers}}):
                yield group, self._session(pixels)

    def _watched(self, pixels: np.ndarray) -> tuple[dict[str, Any], dict[str, int]]:
        """What each block makes in float32, first to last, and after how many of them each layer is first used."""
        made: dict[str, Any] = {}
        begins: dict[str, int] = {}

        def begin(name: str) -> None:
            begins.setdefault(name, len(made))

        with contextlib.ExitStack() as stack:
            for name in self._narrow:
                layer = self._graph.get_submodule(name)
                stack.callback(layer.register_forward_pre_hook(lambda *_, name=name: begin(name)).remove)
            for path in blocks_of(self._graph):
                block = self._graph.get_submodule(path)
                keep = block.register_forward_hook(lambda _, __, result, path=path: made.update({path: result}))
                stack.callback(keep.remove)
            self._session(pixels)
        return made, begins


class _Repeat(nn.Module):
    """Returns what another module made, whatever it is given."""

    def __init__(self, made: Any) -> None:
        super().__init__()
        self.made = made

    def forward(self, *_: Any) -> Any:
        return self.made


@contextlib.contextmanager
def _standing_in(graph: nn.Module, modules: Mapping[str, nn.Module]) -> Iterator[None]:
    """Let other modules stand at some paths for a while."""
    usual = {path: graph.get_submodule(path) for path in modules}

    def put(chosen: Mapping[str, nn.Module]) -> None:
        for path, module in chosen.items():
            parent, _, own = path.rpartition(".")
            graph.get_submodule(parent)._modules[own] = module

    put(modules)
    try:
        yield
    finally:
        put(usual)


def blocks_of(graph: PrunedFrontend) -> list[str]:
    """Paths of the transformer blocks in the graph, first to last."""
    return [f"frontend.{path}" for path in graph.frontend.blocks]


def groups_of(graph: PrunedFrontend) -> dict[str, tuple[str, ...]]:
    """Linear layers of a float32 graph that are narrow or wide together, in the graph's order, by what holds them.

    In a block these are those of attention, and those of the MLP; elsewhere those side by side.
    """
    groups: dict[str, list[str]] = {}
    for layer, module in weighted_layers(graph).items():
        if isinstance(module, nn.Linear):
            block = next((path for path in blocks_of(graph) if layer.startswith(f"{path}.")), None)
            if block is not None:
                group = f"{block}.{layer.removeprefix(f'{block}.').partition('.')[0]}"
            else:
                parent = layer.rpartition(".")[0]
                group = layer if parent == "frontend" else parent
            groups.setdefault(group, []).append(layer)
    return {group: tuple(layers) for group, layers in groups.items()}


def sensitivities(mixture: Mixture, trials: Trials, progress: Progress) -> tuple[Sensitivity, ...]:
    """Of every group that anything passes through, measured on some of the images that are tried."""
    tallies, done = {group: trials.tally() for group in mixture.groups}, 0
    runs = trials.few(len(tallies)) * len(tallies)
    for number, pixels in trials.some(len(tallies)):
        for group, output in mixture.alone(pixels):
            progress("what each group of layers loses when it alone is in int8", done, runs)
            trials.hold(tallies[group], number, output[0])
            done += 1
    return tuple(_sensitivity(group, Quality(tally.done())) for group, tally in tallies.items())


def _sensitivity(group: str, quality: Quality) -> Sensitivity:
    compared, values = quality.comparison, quality.comparison.values
    return Sensitivity(
        group=group,
        worth=min((one.mean for one in compared.worth), default=None),
        jaccard=compared.jaccard_mean,
        erank=compared.erank_error,
        cosine=None if values is None else values.cosine_min,
        share=quality.share,
    )
