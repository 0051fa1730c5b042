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
from vtp_export.errors import ArtefactError, ExportError, first_line
from vtp_export.progress import Progress
from vtp_export.runtime.brief import Brief
from vtp_export.runtime.session import Session
from vtp_export.spec import Build

if TYPE_CHECKING:
    import torch
    from torch import nn


class Backend(base.Backend):
    """`model.ts`."""

    devices = ("cpu", "cuda")
    rank = 40
    source = "graph"
    main = "model.ts"
    packages = ("torch",)

    def missing(self) -> str | None:
        """See `base.Backend`."""
        return missing_torch()

    def build(self, source: "nn.Module", brief: Brief, folder: Path, progress: Progress) -> Build:
        """Trace at batch 2, so that no axis is mistaken for a constant 1."""
        import torch

        try:
            with _deprecation_contained(), torch.inference_mode():
                traced = torch.jit.trace(source, example_inputs(brief, 2), check_trace=False)
                ensure_room(source, folder)
                torch.jit.save(traced, folder / self.main, _extra_files={base.IDENTITY: brief.identity})
        except (RuntimeError, TypeError) as error:
            raise ExportError(f"torch.jit.trace refused the graph: {error}") from error
        return self.built(folder)

    def open(
        self, folder: Path, build: Build, brief: Brief, device: str, threads: int | None, options: base.FormatOptions
    ) -> Session:
        """Load onto the CPU or a CUDA device."""
        prepare(device)
        import torch

        written: dict[str, Any] = {base.IDENTITY: b""}  # torch.jit reads it as bytes
        try:
            with _deprecation_contained():
                module = torch.jit.load(folder / build.main, map_location=device, _extra_files=written)
        except (RuntimeError, ValueError) as error:
            raise ArtefactError(f"torch.jit refuses {build.main}: {first_line(error)}") from error
        base.refuse_other_identity(written[base.IDENTITY].decode(), brief, build)
        _refuse_other_count(module, brief, build)
        if device != "cpu":
            move_constants(module, device)
        return TorchSession(module.eval(), brief.outputs, device, threads)


def _refuse_other_count(module: "torch.jit.ScriptModule", brief: Brief, build: Build) -> None:
    """A trace returns a tuple, and tells neither names nor shapes; see that as many come as promised."""
    returned: Any = next(iter(module.graph.outputs())).type()
    count = len(returned.elements())
    if count != len(brief.outputs):
        names = ", ".join(spec.name for spec in brief.outputs)
        raise ArtefactError(f"{build.main} has {count} outputs, and the manifest promises {names}; {brief.remedy}")


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
