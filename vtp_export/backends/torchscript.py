"""TorchScript: one traced, frozen file for `torch.jit.load` in Python or libtorch.

Deprecated by torch since 2.11, and kept because people ask for it; `pt2` is its successor. The only file that touches
`torch.jit`.
"""

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vtp_export.backends import base
from vtp_export.backends._torch import TorchSession, ensure_room, example_inputs, missing_torch, prepare
from vtp_export.errors import ArtefactError, ExportError
from vtp_export.runtime.session import OpenOptions, Session

if TYPE_CHECKING:
    import torch
    from torch import nn


class Backend(base.Backend):
    """`model.ts`."""

    providers = ("cpu", "cuda")

    def missing(self) -> str | None:
        """See `base.Backend`."""
        return missing_torch()

    def build(self, graph: "nn.Module", plan: base.Plan, folder: Path) -> list[Path]:
        """Trace at batch 2, so that no axis is mistaken for a constant 1."""
        import torch

        path = folder / "model.ts"
        try:
            with _deprecation_contained(), torch.inference_mode():
                traced = torch.jit.trace(graph, example_inputs(plan, 2), check_trace=False)
                ensure_room(graph, folder)
                torch.jit.save(traced, path, _extra_files={"manifest_identity": plan.identity})
        except (RuntimeError, TypeError) as error:
            raise ExportError(f"torch.jit.trace refused the graph: {error}") from error
        return [path]

    def open(self, path: Path, outputs: tuple[str, ...], options: OpenOptions) -> Session:
        """Load onto the CPU or a CUDA device."""
        device = prepare(options, self.missing())
        import torch

        try:
            with _deprecation_contained():
                module = torch.jit.load(path, map_location=device)
        except (RuntimeError, ValueError) as error:
            raise ArtefactError(f"torch.jit refuses {path.name}: {str(error).splitlines()[0]}") from error
        if device != "cpu":
            move_constants(module, device)
        return TorchSession(module.eval(), outputs, device)


def move_constants(module: "torch.jit.ScriptModule", device: str) -> None:
    """Write a device over the one that a trace has noted: `map_location` moves tensors, and not these."""
    parts: list[Any] = [part for part in module.modules() if hasattr(part, "forward")]
    for part in parts:
        graph = part.graph  # held: its nodes do not hold it
        for node in graph.findAllNodes("prim::Constant", True):
            if node.output().type().str() == "Device":
                node.s_("value", device)


@contextlib.contextmanager
def _deprecation_contained() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r".*torch\.jit.*", category=DeprecationWarning)
        warnings.filterwarnings("ignore", message=r".*torch\.jit.*", category=FutureWarning)
        yield
