"""ONNX: one neutral file for ONNX Runtime and TensorRT.

Standard operators of opset 20 and IR 10 only, no fused operators of one vendor: the runtimes fuse when they load.
"""

import dataclasses
import importlib.util
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vtp_export.backends import base
from vtp_export.backends._traced import exported_program, torch_warnings_contained
from vtp_export.errors import ArtefactError, ExportError, ImageError, SpecError, UnavailableError, first_line
from vtp_export.extras import install
from vtp_export.progress import Progress
from vtp_export.runtime.brief import Brief
from vtp_export.runtime.machine import cores
from vtp_export.runtime.providers import PACKAGES, check, multiplies_bfloat16, providers, why_unavailable
from vtp_export.runtime.session import NARROW, Arrays, Session
from vtp_export.settings import either
from vtp_export.spec import Build, TensorSpec

if TYPE_CHECKING:
    from onnxruntime import OrtValue
    from torch import nn

OPSET = 20
IR_VERSION = 10  # runtimes of 2024 and before refuse a higher one
DTYPES = {"float": "float32", "double": "float64"}
"""NumPy's names of what ONNX Runtime calls otherwise."""

EXTERNAL_ABOVE = 256 * 2**20
"""Weights above this many bytes go to a file of their own: protobuf ends at 2 GB, and a mapped file loads lazily."""


@dataclass(frozen=True)
class RunOptions(base.FormatOptions):
    """How the file is run.

    tensorrt: on cuda, through ONNX Runtime's TensorRT provider, which builds engines at the first runs and keeps them.
    """

    tensorrt: bool = either(False, source="this package")


class Backend(base.Backend):
    """`model.onnx`, with `model.onnx.data` beside it when the weights are large."""

    devices = ("cpu", "cuda")
    rank = 20
    source = "graph"
    main = "model.onnx"
    packages = PACKAGES
    signals = True
    int8 = ("blocks", "static")
    Options = RunOptions

    def missing(self) -> str | None:
        """See `base.Backend`."""
        if importlib.util.find_spec("onnxruntime") is None:
            return f"onnxruntime is not installed: {install('onnxruntime')} (or onnxruntime-gpu)"
        return None

    def unable(self, precision: str, device: str) -> str | None:
        """See `base.Backend`: a CPU has no products in bfloat16 in any ONNX Runtime so far, and this one is asked."""
        if precision != "bf16" or device != "cpu" or multiplies_bfloat16():
            return None
        return "onnx in bf16 needs a GPU: this ONNX Runtime has no such products on a CPU; choose the device cuda"

    def build(self, source: "nn.Module", brief: Brief, folder: Path, progress: Progress) -> Build:
        """Export with the dynamo exporter."""
        import torch

        from vtp_export.backends._simplified import simplify
        from vtp_export.backends._translations import translations

        program = exported_program(source, dataclasses.replace(brief, loops=True))  # unrolled later, in less time
        names = [spec.name for spec in brief.inputs], [spec.name for spec in (*brief.outputs, *brief.signals)]
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
                    optimize=False,
                )
        except torch.onnx.OnnxExporterError as error:
            raise ExportError(f"the ONNX exporter refused the graph: {first_line(error)}") from error
        assert onnx_program is not None
        model = onnx_program.model
        with torch_warnings_contained():
            simplify(model, brief.loops)
        model.ir_version = IR_VERSION
        model.metadata_props[base.IDENTITY] = brief.identity
        external = sum(tensor.nbytes for tensor in source.state_dict().values()) > EXTERNAL_ABOVE
        onnx_program.save(folder / self.main, external_data=external)
        return self.built(folder, *([f"{self.main}.data"] if external else []))

    def open(
        self, folder: Path, build: Build, brief: Brief, device: str, threads: int | None, options: RunOptions
    ) -> Session:
        """Load into ONNX Runtime, on the CPU or through the CUDA or TensorRT provider."""
        if reason := self.missing():
            raise UnavailableError(reason)
        if options.tensorrt and device != "cuda":
            raise SpecError(f"the option tensorrt is for the device cuda, and the device is {device}")
        provider = "tensorrt" if options.tensorrt else device
        if provider != "cpu" and (reason := why_unavailable(provider)):
            raise UnavailableError(reason)
        import onnxruntime

        settings = onnxruntime.SessionOptions()
        settings.log_severity_level = 3
        settings.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        # With it ONNX Runtime 1.18 (not 1.19) overwrites what is still needed, from the second run of a batch size on.
        settings.enable_mem_pattern = False
        # Untold how many, ONNX Runtime pins its threads to CPUs of its own choice, and some the process may not use.
        settings.intra_op_num_threads = threads or cores()
        path = folder / build.main
        chosen = providers(provider, path)
        try:
            session = onnxruntime.InferenceSession(str(path), settings, providers=chosen, enable_fallback=0)
        except Exception as error:  # its exceptions share no base class but Exception
            told = first_line(error)
            if provider == "cpu":
                raise ArtefactError(f"ONNX Runtime refuses {path.name}: {told}") from error
            raise UnavailableError(f"ONNX Runtime cannot run {path.name} on {provider}: {told}") from error
        base.refuse_other_identity(session.get_modelmeta().custom_metadata_map.get(base.IDENTITY), brief, build)
        base.refuse_other_tensors(
            [_spec(node) for node in (*session.get_inputs(), *session.get_outputs())], brief, build
        )
        notes = check(session, provider)
        return OnnxSession(session, path, brief.outputs, device, notes)


def _spec(node: Any) -> TensorSpec:
    """What ONNX Runtime says of an input or output."""
    dtype = node.type.removeprefix("tensor(").removesuffix(")")
    shape = tuple(axis if isinstance(axis, int) else "any" for axis in node.shape)
    return TensorSpec(node.name, DTYPES.get(dtype, dtype), shape)


class OnnxSession(Session):
    """An ONNX Runtime session.

    Args:
        session: of the library.
        path: of the file.
        outputs, device, notes: see `Session`.
    """

    def __init__(
        self, session: Any, path: Path, outputs: tuple[TensorSpec, ...], device: str, notes: tuple[str, ...]
    ) -> None:
        super().__init__(outputs, device, notes)
        self._session, self._path = session, path
        self.provider = session.get_providers()[0]

    def narrow_weights(self) -> dict[str, int] | None:
        """Those of the file's initializers, where the onnx library can read them."""
        if importlib.util.find_spec("onnx") is None:
            return None
        import onnx

        counts: dict[str, int] = {}
        for tensor in onnx.load(self._path, load_external_data=False).graph.initializer:
            dtype = onnx.TensorProto.DataType.Name(tensor.data_type).lower()
            if len(tensor.dims) > 1 and dtype in NARROW:
                counts[dtype] = counts.get(dtype, 0) + math.prod(tensor.dims)
        return counts

    def _close(self) -> None:
        self._session = None

    def _run(self, arrays: Arrays) -> dict[str, np.ndarray]:
        from onnxruntime import OrtValue

        whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        values = {name: OrtValue.ortvalue_from_numpy(array, self.device, 0) for name, array in whole.items()}
        return self.named(self._bound(values).copy_outputs_to_cpu())

    def _run_device(self, arrays: Mapping[str, Any]) -> dict[str, Any]:
        """The outputs are `onnxruntime.OrtValue`s."""
        from onnxruntime import OrtValue

        if not hasattr(OrtValue, "from_dlpack"):
            raise UnavailableError("this onnxruntime has no DLPack; install a newer one, or use run")
        try:
            values = {name: OrtValue.from_dlpack(array) for name, array in arrays.items()}
        except (RuntimeError, BufferError, TypeError, ValueError) as error:
            told = str(error).strip().partition("\n")[0]
            raise ImageError(f"ONNX Runtime cannot read the tensor where it is, make it contiguous: {told}") from error
        for name, value in values.items():
            if value.device_name() != self.device:
                raise ImageError(f"'{name}' is on {value.device_name()} and this session runs on {self.device}")
            if value.data_type() != "tensor(float)":
                raise ImageError(f"'{name}' is a {value.data_type()}; it must be float32")
        return self.named(self._bound(values).get_outputs())

    def _magnitudes(self, results: Mapping[str, Any]) -> dict[str, np.ndarray]:
        return {name: results[name].numpy() for name in (results if self.device == "cpu" else self._measures)}

    def _bound(self, values: "Mapping[str, OrtValue]") -> Any:
        """A binding that has run: its outputs are new memory on the device. One for each run: threads share nothing."""
        binding = self._session.io_binding()
        for name, value in values.items():
            binding.bind_ortvalue_input(name, value)
        for spec in self.outputs:
            binding.bind_output(spec.name, self.device, 0)
        binding.synchronize_inputs()  # with the default stream, on which other libraries work
        self._session.run_with_iobinding(binding)
        binding.synchronize_outputs()
        return binding
