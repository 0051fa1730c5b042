"""ONNX: one neutral file for ONNX Runtime and TensorRT.

Standard operators of opset 20 and IR 10 only, no fused operators of one vendor: the runtimes fuse when they load.
"""

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vtp_export.backends import base
from vtp_export.backends._providers import check, providers, why_unavailable
from vtp_export.backends._traced import exported_program, torch_warnings_contained
from vtp_export.errors import ArtefactError, ExportError, ImageError, UnavailableError
from vtp_export.runtime.session import Arrays, OpenOptions, Session

if TYPE_CHECKING:
    from onnxruntime import OrtValue
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

    def open(self, path: Path, outputs: tuple[str, ...], options: OpenOptions) -> Session:
        """Load into ONNX Runtime, on the CPU or through the CUDA or TensorRT provider."""
        if reason := self.missing():
            raise UnavailableError(reason)
        if options.where != "cpu" and (reason := why_unavailable(options.where)):
            raise UnavailableError(reason)
        import onnxruntime

        settings = onnxruntime.SessionOptions()
        settings.log_severity_level = 3
        settings.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        if options.threads is not None:
            settings.intra_op_num_threads = options.threads
        chosen = providers(options.where, path)
        try:
            session = onnxruntime.InferenceSession(str(path), settings, providers=chosen, enable_fallback=0)
        except Exception as error:  # its exceptions share no base class but Exception
            told = str(error).strip().splitlines()[0]
            if options.where == "cpu":
                raise ArtefactError(f"ONNX Runtime refuses {path.name}: {told}") from error
            raise UnavailableError(f"ONNX Runtime cannot run {path.name} on {options.where}: {told}") from error
        return OnnxSession(session, outputs, options.where, check(session, options.where))


class OnnxSession(Session):
    """An ONNX Runtime session."""

    def __init__(self, session: Any, outputs: tuple[str, ...], provider: str, notes: tuple[str, ...]) -> None:
        self._session = session
        self._outputs = outputs
        self._device = "cpu" if provider == "cpu" else "cuda"
        self.notes = notes

    def __enter__(self) -> "OnnxSession":
        """Itself."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Drop the runtime's session."""
        self._session = None

    def run(self, inputs: Arrays) -> dict[str, np.ndarray]:
        """See `Session`."""
        from onnxruntime import OrtValue

        arrays = {name: np.ascontiguousarray(array) for name, array in inputs.items()}
        values = {name: OrtValue.ortvalue_from_numpy(array, self._device, 0) for name, array in arrays.items()}
        return dict(zip(self._outputs, self._bound(values).copy_outputs_to_cpu(), strict=True))

    def run_device(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """See `Session`; the outputs are `onnxruntime.OrtValue`s."""
        from onnxruntime import OrtValue

        if not hasattr(OrtValue, "from_dlpack"):
            raise UnavailableError("this onnxruntime has no DLPack; install a newer one, or use run")
        values = {name: OrtValue.from_dlpack(array) for name, array in inputs.items()}
        for name, value in values.items():
            if value.device_name() != self._device:
                raise ImageError(f"'{name}' is on {value.device_name()} and this session runs on {self._device}")
        return dict(zip(self._outputs, self._bound(values).get_outputs(), strict=True))

    def _bound(self, values: "Mapping[str, OrtValue]") -> Any:
        """A binding that has run: its outputs are new memory on the device. One for each run: threads share nothing."""
        if self._session is None:
            raise ValueError("this session is closed")
        binding = self._session.io_binding()
        for name, value in values.items():
            binding.bind_ortvalue_input(name, value)
        for name in self._outputs:
            binding.bind_output(name, self._device, 0)
        binding.synchronize_inputs()  # with the default stream, on which other libraries work
        self._session.run_with_iobinding(binding)
        binding.synchronize_outputs()
        return binding
