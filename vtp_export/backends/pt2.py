"""`.pt2`: the file of `torch.export`, for `torch.export.load` and for ahead-of-time compilation."""

from pathlib import Path
from typing import TYPE_CHECKING

from vtp_export.backends import base
from vtp_export.backends._torch import TorchSession, ensure_room, missing_torch
from vtp_export.backends._traced import exported_program, torch_warnings_contained
from vtp_export.errors import ArtefactError, UnavailableError

if TYPE_CHECKING:
    from torch import nn


class Backend(base.Backend):
    """`model.pt2`."""

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

    def open(self, path: Path, outputs: tuple[str, ...], threads: int | None) -> base.Session:
        """Load on the CPU."""
        if reason := self.missing():
            raise UnavailableError(reason)
        import torch

        if threads is not None:
            torch.set_num_threads(threads)
        try:
            with torch_warnings_contained():
                program = torch.export.load(path)
        except Exception as error:  # of several modules, BadZipFile among them; none documented
            raise ArtefactError(f"torch.export refuses {path.name}: {str(error).splitlines()[0]}") from error
        return TorchSession(program.module(), outputs)
