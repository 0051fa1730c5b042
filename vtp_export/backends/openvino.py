"""OpenVINO: an IR made from the neutral ONNX file, for CPUs, and for Intel's GPUs and NPUs.

Left to itself OpenVINO computes in bfloat16 wherever the CPU has it, keeps other tokens, and says nothing. Here float32
is an order, and what was compiled is asked what it computes with. Run on CPUs so far, and on no GPU and no NPU.
"""

import importlib.util
import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vtp_export.backends import base
from vtp_export.errors import ArtefactError, ExportError, ImageError, UnavailableError
from vtp_export.extras import install
from vtp_export.progress import Progress
from vtp_export.runtime.brief import Brief
from vtp_export.runtime.machine import cores
from vtp_export.runtime.session import NARROW, Arrays, Session
from vtp_export.runtime.versions import is_older, version
from vtp_export.runtime.writing import free_space
from vtp_export.settings import one_of
from vtp_export.spec import Build, TensorSpec

OLDEST = "2024.6"
HINTS = {"fp32": "f32", "fp16": "f16", "bf16": "bf16"}
"""What a device may be told to compute with, as the command line and as OpenVINO call it."""

DTYPES = {
    "f32": "float32",
    "f16": "float16",
    "bf16": "bfloat16",
    "i64": "int64",
    "i32": "int32",
    "i8": "int8",
    "u8": "uint8",
}
"""NumPy's names of OpenVINO's types; `Type.to_dtype` takes bfloat16 for float16."""

GROUP = "DYNAMIC_QUANTIZATION_GROUP_SIZE"
"""OpenVINO's setting: how many channels of an input share a scale where the weights are int8."""


@dataclass(frozen=True)
class RunOptions(base.FormatOptions):
    """How the file is run.

    precision: what the device may compute with where the file has float32. With less than fp32 other tokens are kept
        than the graph keeps; an NPU has no more than fp16.
    """

    precision: str = one_of("fp32", *HINTS, source="what the graph is written in")


class Backend(base.Backend):
    """`model.xml`, the operations, and `model.bin`, the weights, as wide as they are in the ONNX file."""

    devices = ("cpu", "gpu", "npu")
    rank = 25
    source = "onnx"
    main = "model.xml"
    packages = ("openvino",)
    int8 = ("blocks", "static")
    signals = True
    Options = RunOptions

    def missing(self) -> str | None:
        """See `base.Backend`."""
        if importlib.util.find_spec("openvino") is None:
            return f"openvino is not installed: {install('openvino')}"
        present = version("openvino")
        if present is not None and is_older(present, OLDEST):
            return f"openvino {present} is installed, and {OLDEST} or newer is needed: {install('openvino')}"
        return None

    def build(self, source: Path, brief: Brief, folder: Path, progress: Progress) -> Build:
        """Convert an ONNX file."""
        if reason := self.missing():
            raise UnavailableError(reason)
        import openvino

        progress("OpenVINO: converting")
        main = folder / self.main
        try:
            model = openvino.Core().read_model(source)
            model.set_rt_info(brief.identity, [base.IDENTITY])
            # What it does by default, weights in float16, is `--precision fp16` here, and goes by another name.
            _save(model, main)
        except RuntimeError as error:
            if "MatMulNBits" in str(error):
                present = openvino.__version__.partition("-")[0]
                raise ExportError(f"OpenVINO {present} does not know int8 in blocks; 2025.4 and newer do") from error
            raise ExportError(f"OpenVINO cannot convert {source.name}: {told_by(error)}") from error
        return self.built(folder, main.with_suffix(".bin").name)

    def open(
        self, folder: Path, build: Build, brief: Brief, device: str, threads: int | None, options: RunOptions
    ) -> Session:
        """Compile for a device, and see that it computes with what was asked for."""
        if reason := self.missing():
            raise UnavailableError(reason)
        import openvino

        core, path = openvino.Core(), folder / build.main
        try:
            model = core.read_model(path)
        except RuntimeError as error:
            raise ArtefactError(f"OpenVINO refuses {build.main}: {told_by(error)}") from error
        written = model.get_rt_info([base.IDENTITY]).astype(str) if model.has_rt_info([base.IDENTITY]) else None
        base.refuse_other_identity(written, brief, build)
        base.refuse_other_tensors([_spec(port) for port in (*model.inputs, *model.outputs)], brief, build)
        _leave_out(model, brief)
        block = _block(model)
        settings = {"INFERENCE_PRECISION_HINT": HINTS[options.precision], "PERFORMANCE_HINT": "LATENCY"}
        if device == "cpu":
            # Pinned, the threads of two processes would share one CPU while others idle.
            settings |= {"INFERENCE_NUM_THREADS": str(threads or cores()), "ENABLE_CPU_PINNING": "NO"}
            # Inputs of int8 products are rounded in the blocks of their weights, as the graph does it.
            settings[GROUP] = str(block)
        try:
            compiled = core.compile_model(model, device.upper(), settings)
        except RuntimeError as error:
            raise UnavailableError(f"OpenVINO cannot run {build.main} on {device}: {told_by(error)}") from error
        _refuse_narrower(compiled, model, device, options.precision)
        if device == "cpu" and (group := compiled.get_property(GROUP)) != block:
            raise UnavailableError(
                f"OpenVINO rounds inputs in groups of {group} channels, and the file is made for {block}"
            )
        return OpenvinoSession(compiled, path, brief.outputs, device, _notes(device, options.precision))


def _save(model: Any, main: Path) -> None:
    """Write it; of a full disk OpenVINO says no more than that a stream has failed.

    Raises:
        ArtefactError: it cannot be written.
    """
    import openvino

    try:
        openvino.save_model(model, main, compress_to_fp16=False)
    except RuntimeError as error:
        raise ArtefactError(f"OpenVINO cannot write {main.name}: {told_by(error)}{free_space(main)}") from error


def told_by(error: RuntimeError) -> str:
    """What OpenVINO says, without the places in its code that it has come through."""
    lines = [line.strip() for line in str(error).splitlines()]
    told = [line for line in lines if line and not line.startswith(("Exception from", "Check '"))]
    return told[-1] if told else " ".join(str(error).split())


def _dtype(kind: Any) -> str:
    """NumPy's name of an `openvino.Type`."""
    name: str = kind.get_type_name()
    return DTYPES.get(name, name)


def _spec(port: Any) -> TensorSpec:
    """What OpenVINO says of an input or output."""
    shape = tuple(axis.get_length() if axis.is_static else "any" for axis in port.get_partial_shape())
    return TensorSpec(port.get_any_name(), _dtype(port.get_element_type()), shape)


def _block(model: Any) -> int:
    """How many channels of int8 weights share a scale in the file: blocks are its (out, blocks, block) bytes; or 0."""
    for node in model.get_ops():
        shape = list(node.get_output_shape(0)) if node.get_type_name() == "Constant" else []
        if len(shape) == 3 and node.get_output_element_type(0).get_type_name() == "u8":
            return int(shape[2])
    return 0


def _leave_out(model: Any, brief: Brief) -> None:
    """Signals that nobody asked for: what is an output is computed and copied in every run."""
    promised = {spec.name for spec in brief.outputs}
    for port, result in zip(model.outputs, model.get_results(), strict=True):
        if port.get_any_name() not in promised:
            model.remove_result(result)


def _refuse_narrower(compiled: Any, model: Any, device: str, precision: str) -> None:
    """See that no less is computed with than was asked for, but where the file itself is narrower.

    Raises:
        UnavailableError: OpenVINO has compiled something else.
    """
    asked = HINTS[precision]
    written = {out.get_element_type().get_type_name() for node in model.get_ops() for out in node.outputs()}
    nodes = [node.get_rt_info() for node in compiled.get_runtime_model().get_ops()]
    chosen = {node["runtimePrecision"].astype(str) for node in nodes if "runtimePrecision" in node}
    hint = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    if narrower := {hint, *(chosen - written)} & {"f16", "bf16"} - {asked}:
        names = " and ".join(sorted(DTYPES.get(name, name) for name in narrower))
        again = " or ".join(f"precision={name}" for name, other in HINTS.items() if other in narrower)
        raise UnavailableError(
            f"OpenVINO computes in {names} on {device}, and {DTYPES[asked]} was asked for, because with less other "
            f"tokens are kept; take the device cpu, or ask for it by name: --option {again}"
        )


def _notes(device: str, precision: str) -> tuple[str, ...]:
    name = DTYPES[HINTS[precision]]
    if precision != "fp32":
        return (f"OpenVINO computes in {name}, as was asked for, and keeps other tokens than the graph in float32",)
    return () if device == "cpu" else (f"OpenVINO computes in {name} on {device}",)


class OpenvinoSession(Session):
    """A compiled model. Each of several runs at once has a request to itself, which a later run takes over.

    Args:
        compiled: of the library.
        path: of the file.
        outputs, device, notes: see `Session`.
    """

    def __init__(
        self, compiled: Any, path: Path, outputs: tuple[TensorSpec, ...], device: str, notes: tuple[str, ...]
    ) -> None:
        super().__init__(outputs, device, notes)
        self._compiled, self._path = compiled, path
        self._idle: deque[Any] = deque()

    def narrow_weights(self) -> dict[str, int] | None:
        """Those of the file's constants."""
        import openvino

        counts: dict[str, int] = {}
        for node in openvino.Core().read_model(self._path).get_ops():
            if node.get_type_name() == "Constant" and len(node.get_output_shape(0)) > 1:
                dtype = _dtype(node.get_output_element_type(0))
                if dtype in NARROW:
                    counts[dtype] = counts.get(dtype, 0) + math.prod(node.get_output_shape(0))
        return counts

    def _close(self) -> None:
        self._idle.clear()
        self._compiled = None

    def _run(self, arrays: Arrays) -> dict[str, np.ndarray]:
        try:
            request = self._idle.pop()
        except IndexError:
            request = self._compiled.create_infer_request()
        whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        results = request.infer(whole, share_inputs=True, share_outputs=False)
        found = self.named([results[port] for port in self._compiled.outputs])
        self._idle.append(request)
        return found

    def _run_device(self, arrays: Mapping[str, Any]) -> dict[str, Any]:
        """The outputs are NumPy arrays."""
        if self.device != "cpu":
            raise UnavailableError(f"openvino takes and returns NumPy arrays on {self.device}; use run")
        return self._run({name: _borrowed(name, array) for name, array in arrays.items()})

    def _magnitudes(self, results: Mapping[str, Any]) -> dict[str, np.ndarray]:
        return dict(results)


def _borrowed(name: str, array: Any) -> np.ndarray:
    """A tensor of another library as an array, without a copy."""
    try:
        borrowed = np.from_dlpack(array)
    except (RuntimeError, BufferError, TypeError, ValueError) as error:
        told = str(error).strip().partition("\n")[0]
        raise ImageError(f"OpenVINO cannot read the tensor where it is, move it to the CPU: {told}") from error
    if borrowed.dtype != np.float32:
        raise ImageError(f"'{name}' is {borrowed.dtype}; it must be float32")
    return borrowed
