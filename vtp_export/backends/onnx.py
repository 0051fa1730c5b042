"""ONNX: one neutral file for ONNX Runtime and TensorRT.

Standard operators of opset 20 and IR 10 only, no fused operators of one vendor: the runtimes fuse when they load.
"""

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vtp_export.backends import base
from vtp_export.backends._traced import exported_program, torch_warnings_contained
from vtp_export.errors import ArtefactError, ExportError, UnavailableError

if TYPE_CHECKING:
    from torch import nn

OPSET = 20
IR_VERSION = 10  # runtimes of 2024 and before refuse a higher one
EXTERNAL_ABOVE = 256 * 2**20
"""Weights above this many bytes go to a file of their own: protobuf ends at 2 GB, and a mapped file loads lazily."""

IDENTITY_KEY = "vtp_export.manifest"


class Backend(base.Backend):
    """`model.onnx`, with `model.onnx.data` beside it when the weights are large."""

    int8 = ("dynamic", "static")

    def missing(self) -> str | None:
        """See `base.Backend`."""
        if importlib.util.find_spec("onnxruntime") is None:
            return "onnxruntime is not installed: pip install 'vtp-export[onnxruntime]' (or [onnxruntime-gpu])"
        return None

    def build(self, graph: "nn.Module", plan: base.Plan, folder: Path) -> list[Path]:
        """Export with the dynamo exporter."""
        import torch

        from vtp_export.backends._translations import translations

        path = folder / "model.onnx"
        program = exported_program(graph, plan)
        names = [spec.name for spec in plan.inputs], [spec.name for spec in plan.outputs]
        try:
            with torch_warnings_contained():
                onnx_program = torch.onnx.export(
                    program,
                    dynamo=True,
                    opset_version=OPSET,
                    custom_translation_table=translations(),
                    input_names=names[0],
                    output_names=names[1],
                    verbose=False,
                )
        except torch.onnx.OnnxExporterError as error:
            raise ExportError(f"the ONNX exporter refused the graph: {str(error).splitlines()[0]}") from error
        assert onnx_program is not None
        model = onnx_program.model
        model.ir_version = IR_VERSION
        model.metadata_props[IDENTITY_KEY] = plan.identity
        external = sum(tensor.nbytes for tensor in graph.state_dict().values()) > EXTERNAL_ABOVE
        onnx_program.save(path, external_data=external)
        return sorted(folder.glob("model.onnx*"), key=lambda file: len(file.name))

    def open(self, path: Path, outputs: tuple[str, ...], threads: int | None) -> base.Session:
        """Load into ONNX Runtime on the CPU."""
        if reason := self.missing():
            raise UnavailableError(reason)
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        if threads is not None:
            options.intra_op_num_threads = threads
        try:
            session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its exceptions share no base class but Exception
            raise ArtefactError(f"ONNX Runtime refuses {path.name}: {str(error).splitlines()[0]}") from error
        return OnnxSession(session, outputs)


class OnnxSession(base.Session):
    """An ONNX Runtime session."""

    def __init__(self, session: Any, outputs: tuple[str, ...]) -> None:
        self._session = session
        self._outputs = list(outputs)

    def __enter__(self) -> "OnnxSession":
        """Itself."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Drop the runtime's session."""
        self._session = None

    def run(self, inputs: base.Arrays) -> dict[str, np.ndarray]:
        """See `base.Session`; ONNX Runtime allocates its outputs anew in every run."""
        if self._session is None:
            raise ValueError("this session is closed")
        return dict(zip(self._outputs, self._session.run(self._outputs, dict(inputs)), strict=True))
