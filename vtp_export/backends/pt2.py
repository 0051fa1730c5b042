"""`.pt2`: the file of `torch.export`, for `torch.export.load` and for ahead-of-time compilation."""

from pathlib import Path
from typing import TYPE_CHECKING

from vtp_export.backends import base
from vtp_export.backends._torch import TorchSession, ensure_room, missing_torch, prepare
from vtp_export.backends._traced import exported_program, torch_warnings_contained
from vtp_export.errors import ArtefactError
from vtp_export.runtime.session import OpenOptions, Session

if TYPE_CHECKING:
    from torch import nn


class Backend(base.Backend):
    """`model.pt2`."""

    providers = ("cpu", "cuda")

    def missing(self) -> str | None:
        """See `base.Backend`."""
        return missing_torch()

    def build(self, graph: "nn.Module", plan: base.Plan, folder: Path) -> list[Path]:
        """Export with a dynamic batch."""
        import torch

        path = folder / "model.pt2"
        program = exported_program(graph, plan)
        program.example_inputs = None  # megabytes of random pixels that nobody asks for
        ensure_room(graph, folder)
        with torch_warnings_contained():
            torch.export.save(program, path, extra_files={"manifest_identity": plan.identity})
        return [path]

    def open(self, path: Path, outputs: tuple[str, ...], options: OpenOptions) -> Session:
        """Load onto the CPU or a CUDA device."""
        device = prepare(options, self.missing())
        import torch
        from torch.export.passes import move_to_device_pass

        try:
            with torch_warnings_contained():
                program = torch.export.load(path)
        except Exception as error:  # of several modules, BadZipFile among them; none documented
            raise ArtefactError(f"torch.export refuses {path.name}: {str(error).splitlines()[0]}") from error
        if device != "cpu":
            program = move_to_device_pass(program, device)
        return TorchSession(program.module(), outputs, device)
