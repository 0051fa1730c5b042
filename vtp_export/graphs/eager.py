"""A graph as torch runs it, without a file: a session like that of any format."""

import copy
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from vtp_export.backends._torch import TorchSession
from vtp_export.functional.devices import computing, prepare
from vtp_export.functional.tokens import Selection, Tokens
from vtp_export.graphs.converting import converting
from vtp_export.graphs.pruned import PrunedFrontend
from vtp_export.runtime.output import Kept, Output
from vtp_export.runtime.session import refuse_not_finite


@dataclass(frozen=True)
class Seen:
    """One image, as a graph sees it: the signals that its pruner reads, of a batch of one, and what comes out."""

    tokens: Tokens
    result: Kept


class EagerSession(TorchSession):
    """A graph, or its twin in another precision.

    Args:
        graph: left as it is; copied where it has to be moved. Converted weights are never there all at once.
        device: "cpu" or "cuda".
        dtype: of weights and pixels; None for those that the graph has, and float32 pixels. Outputs have those of the
            contract.
    """

    def __init__(self, graph: PrunedFrontend, device: str = "cpu", dtype: torch.dtype | None = None) -> None:
        prepare(device)
        graph = _placed(graph, device)
        self.graph = graph = graph if dtype is None else converting(graph, dtype)
        self.dtype = dtype or torch.float32
        super().__init__(lambda pixels: self._promised(graph(pixels.to(self.dtype))), graph.outputs, device)

    def _promised(self, results: Sequence[Tensor]) -> list[Tensor]:
        """In the dtypes of the outputs, whatever the graph computes in."""
        return [result.to(getattr(torch, spec.dtype)) for result, spec in zip(results, self.outputs, strict=True)]

    def __call__(self, pixels: np.ndarray) -> Output:
        """Run on (b, 3, h, w) float32 pixels."""
        return Output.of(self.run({"pixel_values": pixels}))

    @computing()
    @torch.inference_mode()
    def encode(self, pixels: np.ndarray, needs: Collection[str] | None = None) -> Tokens:
        """The first half: (b, 3, h, w) float32 pixels to signals.

        Args:
            pixels: as in a call.
            needs: which signals; None for those that the pruner reads.
        """
        images = torch.from_numpy(pixels).to(self.device, self.dtype)
        return self.graph.frontend.encode(images, self.graph.pruner.method.needs if needs is None else needs)

    @computing()
    @torch.inference_mode()
    def finish(self, tokens: Tokens) -> Output:
        """The second half: prune, project and lay out what `encode` gave.

        Raises:
            OutputError: an output is not finite.
        """
        results = self._promised(self.graph.finish(tokens, self.graph.pruner(tokens)))
        arrays = {name: result.cpu().numpy() for name, result in self.named(results).items()}
        refuse_not_finite(arrays)
        return Output.of(arrays)

    @torch.inference_mode()
    def finished(self, tokens: Tokens, selection: Selection) -> np.ndarray:
        """Output tokens (b, k, d) of a selection from elsewhere."""
        made: np.ndarray = self.graph.finish(tokens, selection)[0].float().cpu().numpy()
        return made

    @torch.inference_mode()
    def mixed(self, tokens: Tokens, kept: np.ndarray, mix: np.ndarray) -> np.ndarray:
        """Output tokens (m, d) by weights from elsewhere.

        Args:
            tokens: of one image.
            kept: (m,) anchors.
            mix: (m, n) or (m, n + 1), see `Selection`.
        """
        weights = torch.from_numpy(mix).to(tokens.hidden)[None]
        rows = self.finished(tokens, Selection(torch.from_numpy(kept).to(weights.device)[None], weights))
        one: np.ndarray = rows[0]
        return one

    @torch.inference_mode()
    def kept_in_float64(self, tokens: Tokens) -> np.ndarray:
        """(k,) what the pruner keeps of the signals of one image when it computes in float64."""
        wide = Tokens(*(None if signal is None else signal.double() for signal in tokens))  # type: ignore[arg-type]
        kept: np.ndarray = self.graph.pruner(wide).kept[0].cpu().numpy()
        return kept

    def signals(self, pixels: np.ndarray) -> list[Tokens]:
        """Of each image of a batch, as a batch of one."""
        return _images(self.encode(pixels))

    def see(self, pixels: np.ndarray) -> list[Seen]:
        """Each image of a batch."""
        return self.seen(self.encode(pixels))

    def seen(self, tokens: Tokens) -> list[Seen]:
        """As `see`, of signals that `encode` gave."""
        return [Seen(one, result) for one, result in zip(_images(tokens), self.finish(tokens), strict=True)]


def _placed(graph: PrunedFrontend, device: str) -> PrunedFrontend:
    """The graph itself where its weights are there already, else a copy."""
    weights: list[Tensor] = list(graph.frontend.parameters())  # type: ignore[attr-defined]
    if all(weight.device.type == device for weight in weights):
        return graph
    # Weights are shared with the copy and then moved one by one.
    graph = copy.deepcopy(graph, {id(tensor): tensor for tensor in (*graph.parameters(), *graph.buffers())})
    for module in graph.frontend.modules():  # type: ignore[attr-defined]
        for held in (module._parameters, module._buffers):
            for name, tensor in held.items():
                if tensor is not None:
                    held[name] = _moved(tensor, device)
    graph.pruner.to(device)
    return graph


def _moved(tensor: Tensor, device: str) -> Tensor:
    moved = tensor.detach().to(device)
    return nn.Parameter(moved, requires_grad=False) if isinstance(tensor, nn.Parameter) else moved


def _images(tokens: Tokens) -> list[Tokens]:
    signals = {name: signal for name, signal in tokens._asdict().items() if signal is not None}
    return [Tokens(**{name: signal[i : i + 1] for name, signal in signals.items()}) for i in range(len(tokens.hidden))]
