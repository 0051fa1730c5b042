"""What the formats that torch itself runs have in common."""

import importlib.util
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vtp_export.errors import ImageError, UnavailableError
from vtp_export.extras import install
from vtp_export.runtime.brief import Brief
from vtp_export.runtime.session import NARROW, Arrays, Session
from vtp_export.spec import TensorSpec

if TYPE_CHECKING:
    from torch import Tensor, nn


def missing_torch() -> str | None:
    """Why torch cannot be used, or None."""
    if importlib.util.find_spec("torch") is None:
        return f"torch is not installed: {install('export')}"
    return None


def prepare(device: str) -> None:
    """Set torch up for a session.

    Args:
        device: "cpu" or "cuda".

    Raises:
        UnavailableError: torch, or a device of the kind that was asked for, is not there; or this process was forked
            from one in which torch has computed.
    """
    if reason := missing_torch():
        raise UnavailableError(reason)
    from vtp_export.functional import devices

    devices.prepare(device)


def example_inputs(brief: Brief, batch: int) -> "tuple[Tensor, ...]":
    """Random inputs of the declared shapes; their values do not enter the exported file."""
    import torch

    generator = torch.Generator().manual_seed(0)
    return tuple(
        torch.randn([batch if axis == "b" else axis for axis in spec.shape], generator=generator)  # type: ignore[misc]
        for spec in brief.inputs
    )


def ensure_room(graph: "nn.Module", folder: Path) -> None:
    """Reserve, for a moment, the space that the weights of a graph will take.

    torch's file writer aborts the whole process when a write fails; asked first, a full disk or a quota is an
    ordinary error.

    Raises:
        OSError: there is not enough room.
    """
    needed = sum(tensor.numel() * tensor.element_size() for tensor in graph.state_dict().values())
    with tempfile.TemporaryFile(dir=folder) as file:
        os.posix_fallocate(file.fileno(), 0, needed + needed // 50 + 8 * 2**20)


def narrow_weights(tensors: "Iterable[Tensor]") -> dict[str, int]:
    """See `Session.narrow_weights`."""
    counts: dict[str, int] = {}
    for tensor in tensors:
        dtype = str(tensor.dtype).removeprefix("torch.")
        if tensor.dim() > 1 and dtype in NARROW:
            counts[dtype] = counts.get(dtype, 0) + tensor.numel()
    return counts


class TorchSession(Session):
    """Run a callable of tensors on a device as a session.

    Args:
        call: tensors in, tensors out.
        outputs: what it returns.
        device: "cpu" or "cuda".
        threads: of torch while this session runs, and only then; None for those that torch has.
    """

    def __init__(
        self, call: Callable[..., Any], outputs: tuple[TensorSpec, ...], device: str, threads: int | None = None
    ) -> None:
        super().__init__(outputs, device)
        self._call: Callable[..., Any] | None = call
        self._threads = threads

    def narrow_weights(self) -> dict[str, int] | None:
        """Those of the module's parameters and buffers."""
        state: Callable[[], Mapping[str, Any]] | None = getattr(self._call, "state_dict", None)
        return None if state is None else narrow_weights(state().values())

    def _close(self) -> None:
        self._call = None

    def _run(self, arrays: Arrays) -> dict[str, np.ndarray]:
        import torch

        # Copies both ways: the caller may change its arrays, and the results must outlive the next run.
        tensors = [torch.from_numpy(np.array(array)).to(self.device) for array in arrays.values()]
        return {name: result.cpu().numpy().copy() for name, result in self._results(tensors).items()}

    def _run_device(self, arrays: Mapping[str, Any]) -> dict[str, Any]:
        """The outputs are tensors."""
        import torch.utils.dlpack

        try:
            tensors = [torch.utils.dlpack.from_dlpack(array) for array in arrays.values()]
        except (RuntimeError, BufferError, TypeError, ValueError) as error:
            told = str(error).strip().partition("\n")[0]
            raise ImageError(f"torch cannot read the tensor where it is: {told}") from error
        for name, tensor in zip(arrays, tensors, strict=True):
            if tensor.device.type != self.device:
                raise ImageError(f"'{name}' is on {tensor.device.type} and this session runs on {self.device}")
            if tensor.dtype != torch.float32:
                raise ImageError(f"'{name}' is {str(tensor.dtype).removeprefix('torch.')}; it must be float32")
        results = {name: result.clone() for name, result in self._results(tensors).items()}
        if self.device == "cuda":
            torch.cuda.synchronize()
        return results

    def _magnitudes(self, results: Mapping[str, Any]) -> dict[str, np.ndarray]:
        floats = {name: result for name, result in results.items() if result.is_floating_point()}
        return {name: result.abs().reshape(len(result), -1).amax(1).cpu().numpy() for name, result in floats.items()}

    def _results(self, tensors: "list[Tensor]") -> "dict[str, Tensor]":
        import torch

        from vtp_export.functional.devices import computing

        call = self._call
        assert call is not None
        with computing(self._threads), torch.inference_mode():
            return self.named(call(*tensors))
