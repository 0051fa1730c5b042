"""What the two formats that torch itself runs have in common."""

import importlib.util
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vtp_export.backends.base import Arrays, Plan, Session

if TYPE_CHECKING:
    from torch import Tensor, nn


def missing_torch() -> str | None:
    """Why torch cannot be used, or None."""
    if importlib.util.find_spec("torch") is None:
        return "torch is not installed: pip install 'vtp-export[export]'"
    return None


def example_inputs(plan: Plan, batch: int) -> "tuple[Tensor, ...]":
    """Random inputs of the declared shapes; their values do not enter the exported file."""
    import torch

    generator = torch.Generator().manual_seed(0)
    return tuple(
        torch.randn([batch if axis == "b" else axis for axis in spec.shape], generator=generator)  # type: ignore[misc]
        for spec in plan.inputs
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


class TorchSession(Session):
    """Run a callable of tensors as a session."""

    def __init__(self, call: Callable[..., Any], outputs: tuple[str, ...]) -> None:
        self._call: Callable[..., Any] | None = call
        self._outputs = outputs

    def __enter__(self) -> "TorchSession":
        """Itself."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Drop the model."""
        self._call = None

    def run(self, inputs: Arrays) -> dict[str, np.ndarray]:
        """See `Session.run`."""
        import torch

        if self._call is None:
            raise ValueError("this session is closed")
        # Copies both ways: the caller may change its arrays, and the results must outlive the next run.
        with torch.inference_mode():
            results = self._call(*(torch.from_numpy(np.array(array)) for array in inputs.values()))
            return {name: result.numpy().copy() for name, result in zip(self._outputs, results, strict=True)}
