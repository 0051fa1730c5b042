"""`.pt2`: the file of `torch.export`, for `torch.export.load` and for ahead-of-time compilation."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from vtp_export.backends import base
from vtp_export.backends._torch import TorchSession, ensure_room, missing_torch, prepare
from vtp_export.backends._traced import exported_program, torch_warnings_contained
from vtp_export.errors import ArtefactError, first_line
from vtp_export.progress import Progress
from vtp_export.runtime.brief import Brief
from vtp_export.runtime.session import Session
from vtp_export.spec import Build, TensorSpec

if TYPE_CHECKING:
    from torch import nn
    from torch.export import ExportedProgram


class Backend(base.Backend):
    """`model.pt2`."""

    devices = ("cpu", "cuda")
    rank = 30
    source = "graph"
    main = "model.pt2"
    packages = ("torch",)

    def missing(self) -> str | None:
        """See `base.Backend`."""
        return missing_torch()

    def build(self, source: "nn.Module", brief: Brief, folder: Path, progress: Progress) -> Build:
        """Export with a dynamic batch."""
        import torch

        program = exported_program(source, brief)
        program.example_inputs = None  # megabytes of random pixels that nobody asks for
        ensure_room(source, folder)
        with torch_warnings_contained():
            torch.export.save(program, folder / self.main, extra_files={base.IDENTITY: brief.identity})
        return self.built(folder)

    def open(
        self, folder: Path, build: Build, brief: Brief, device: str, threads: int | None, options: base.FormatOptions
    ) -> Session:
        """Load onto the CPU or a CUDA device."""
        prepare(device)
        import torch
        from torch.export.passes import move_to_device_pass

        written = {base.IDENTITY: ""}
        try:
            with torch_warnings_contained():
                program = torch.export.load(folder / build.main, extra_files=written)
        except Exception as error:  # of several modules, BadZipFile among them; none documented
            raise ArtefactError(f"torch.export refuses {build.main}: {first_line(error)}") from error
        base.refuse_other_identity(written[base.IDENTITY], brief, build)
        tensors, batch = _tensors(program, brief)
        base.refuse_other_tensors(tensors, brief, build)
        if not isinstance(batch, int):
            limits = program.range_constraints[batch.node.expr]
            base.refuse_other_batches(int(limits.lower), int(limits.upper), brief, build)
        if device != "cpu":
            program = move_to_device_pass(program, device)
        return TorchSession(program.module(), brief.outputs, device, threads)


def _tensors(program: "ExportedProgram", brief: Brief) -> tuple[list[TensorSpec], Any]:
    """Inputs and outputs, which have a place and no name; and the first input's batch, a number or a symbol."""
    nodes = {node.name: node.meta["val"] for node in program.graph.nodes if "val" in node.meta}
    signature = program.graph_signature
    tensors = []
    for names, specs in ((signature.user_inputs, brief.inputs), (signature.user_outputs, brief.outputs)):
        for name, spec in zip(names, specs, strict=False):
            value = nodes[str(name)]
            shape = tuple(axis if isinstance(axis, int) else "any" for axis in value.shape)
            tensors.append(TensorSpec(spec.name, str(value.dtype).removeprefix("torch."), shape))
    return tensors, nodes[str(signature.user_inputs[0])].shape[0]
