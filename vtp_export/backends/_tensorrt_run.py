"""Run a plan: buffers on the device, one stream, NumPy or DLPack in and out."""

import math
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vtp_export.backends._tensorrt_build import logger
from vtp_export.backends.base import refuse_other_batches, refuse_other_identity, refuse_other_tensors
from vtp_export.errors import ArtefactError, ImageError, UnavailableError
from vtp_export.runtime.brief import Brief
from vtp_export.runtime.cuda import Buffer, Graph, Stream, device
from vtp_export.runtime.dlpack import CUDA, DeviceArray, borrowed
from vtp_export.runtime.session import Arrays, Session
from vtp_export.spec import Build, TensorSpec

Shapes = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class _Tensor:
    """An input or output of the engine, in a buffer that holds its largest batch."""

    name: str
    dtype: np.dtype[Any]
    buffer: Buffer


@dataclass
class _Work:
    """What one batch size does: a context, whether it has run, and then its capture."""

    context: Any
    warm: bool = False
    graph: Graph | None = None


class TensorrtSession(Session):
    """An engine with one execution context. Runs take turns: a context does one thing at a time.

    Args:
        trt: the Python module, of TensorRT or of TensorRT for RTX.
        folder: of the artefact.
        build: its digests and what it was built on have been checked.
        brief: what was promised.
        cuda_graphs: capture the work of each batch size at its second run, and launch the capture from then on. Each
            batch size takes the memory of a context of its own.

    Raises:
        ArtefactError: TensorRT refuses the plan; relays its words. Or the plan is of another manifest.
        UnavailableError: the device has not enough memory.
    """

    def __init__(self, trt: Any, folder: Path, build: Build, brief: Brief, cuda_graphs: bool = False) -> None:
        super().__init__(brief.outputs, "cuda")
        self._log = logger(trt)
        self._runtime = trt.Runtime(self._log)  # must outlive the engine
        engine = self._runtime.deserialize_cuda_engine((folder / build.main).read_bytes())
        if engine is None:
            raise ArtefactError(f"TensorRT refuses {build.main}: {self._log.last() or 'it gave no reason'}")
        refuse_other_identity(engine.name, brief, build)
        self._names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
        refuse_other_tensors([_spec(trt, engine, name, brief) for name in self._names], brief, build)
        low, _, high = engine.get_tensor_profile_shape(brief.inputs[0].name, 0)
        refuse_other_batches(low[0], high[0], brief, build)
        self._engine, self._lock = engine, threading.Lock()
        self._number, self._stream = device(), Stream()
        self._buffers: list[Buffer] = []
        # A context that was captured must not be changed afterwards, so with graphs each shape has one of its own.
        self._cuda_graphs, self._captured = cuda_graphs, dict[Shapes, _Work]()
        try:
            self._plain = _Work(self._new_context())
            self._tensors = self._allocated(trt, self._plain.context)
            self._set_addresses(self._plain.context)
        except BaseException:
            self.close()
            raise

    def _new_context(self) -> Any:
        context = self._engine.create_execution_context()
        if context is None:
            raise UnavailableError(f"TensorRT cannot make an execution context: {self._log.last() or 'no memory?'}")
        return context

    def _allocated(self, trt: Any, context: Any) -> dict[str, _Tensor]:
        engine = self._engine
        inputs = [name for name in self._names if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT]
        for name in inputs:
            largest = engine.get_tensor_profile_shape(name, 0)[2]
            context.set_input_shape(name, tuple(largest))
        found = {}
        for name in self._names:
            dtype = np.dtype(trt.nptype(engine.get_tensor_dtype(name)))
            buffer = Buffer(math.prod(tuple(context.get_tensor_shape(name))) * dtype.itemsize)
            self._buffers.append(buffer)
            found[name] = _Tensor(name, dtype, buffer)
        return found

    def _set_addresses(self, context: Any) -> None:
        for tensor in self._tensors.values():
            context.set_tensor_address(tensor.name, tensor.buffer.pointer)

    def _close(self) -> None:
        with self._lock:
            for work in self._captured.values():
                if work.graph is not None:
                    work.graph.destroy()
            for buffer in self._buffers:
                buffer.free()
            self._stream.destroy()
            self._captured, self._plain = {}, _Work(None)
            self._engine = self._runtime = None

    def _run(self, arrays: Arrays) -> dict[str, np.ndarray]:
        whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        with self._turn({name: array.shape for name, array in whole.items()}) as work:
            for name, array in whole.items():
                self._stream.upload(array, self._tensors[name].buffer.pointer)
            self._execute(work)
            shapes = {spec.name: tuple(work.context.get_tensor_shape(spec.name)) for spec in self.outputs}
            results = {name: np.empty(shape, self._tensors[name].dtype) for name, shape in shapes.items()}
            for name, result in results.items():
                self._stream.download(self._tensors[name].buffer.pointer, result)
            self._stream.wait()
        return results

    def _run_device(self, arrays: Mapping[str, Any]) -> dict[str, Any]:
        """The outputs are `DeviceArray`s.

        Raises:
            ImageError: a tensor is not on this GPU, or not in C order, or of another dtype.
        """
        with self._views(arrays) as views, self._turn({n: view.shape for n, view in views.items()}) as work:
            for name, view in views.items():
                self._stream.move(view.pointer, self._tensors[name].buffer.pointer, view.nbytes)
            self._execute(work)
            results = {}
            for spec in self.outputs:
                shape, tensor = tuple(work.context.get_tensor_shape(spec.name)), self._tensors[spec.name]
                copy = Buffer(math.prod(shape) * tensor.dtype.itemsize)
                self._stream.move(tensor.buffer.pointer, copy.pointer, copy.nbytes)
                results[spec.name] = DeviceArray(copy.pointer, shape, tensor.dtype, (CUDA, self._number), copy)
            self._stream.wait()
        return results

    def _magnitudes(self, results: Mapping[str, Any]) -> dict[str, np.ndarray]:
        found = {name: np.empty(results[name].shape, results[name].dtype) for name in self._measures}
        with self._lock:
            for name, array in found.items():
                self._stream.download(results[name].pointer, array)
            self._stream.wait()
        return found

    @contextmanager
    def _views(self, arrays: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        with ExitStack() as stack:
            views = {n: stack.enter_context(borrowed(tensor, self._stream.handle)) for n, tensor in arrays.items()}
            for name, view in views.items():
                if view.device != (CUDA, self._number):
                    right = f"it must be on the GPU of this session, {(CUDA, self._number)}"
                    raise ImageError(f"{name} lies on DLPack's device {view.device}; {right}")
                if view.dtype != self._tensors[name].dtype:
                    raise ImageError(f"{name} is {view.dtype}; it must be {self._tensors[name].dtype}")
            yield views

    @contextmanager
    def _turn(self, shapes: dict[str, tuple[int, ...]]) -> Iterator[_Work]:
        """The device to oneself, and a context with these input shapes."""
        with self._lock:
            self._refuse_closed()  # it may have been closed while this run waited for its turn
            yield self._work_of(shapes)

    def _work_of(self, shapes: dict[str, tuple[int, ...]]) -> _Work:
        key = tuple(shapes.values())
        if key in self._captured:
            return self._captured[key]
        work = _Work(self._new_context()) if self._cuda_graphs else self._plain
        for name, shape in shapes.items():
            if not work.context.set_input_shape(name, tuple(shape)):
                raise ImageError(f"{name} has shape {tuple(shape)}, outside of what the plan was built for")
        if self._cuda_graphs:
            self._set_addresses(work.context)
            self._captured[key] = work
        return work

    def _execute(self, work: _Work) -> None:
        if not (self._cuda_graphs and work.warm):
            self._enqueue(work.context)  # the first run of a shape may allocate, which must not be captured
            work.warm = True
            return
        if work.graph is None:
            work.graph = self._stream.captured(lambda: self._enqueue(work.context))
        self._stream.launch(work.graph)

    def _enqueue(self, context: Any) -> None:
        if not context.execute_async_v3(self._stream.handle):
            raise ArtefactError(f"TensorRT could not run the plan: {self._log.last() or 'it gave no reason'}")


def _spec(trt: Any, engine: Any, name: str, brief: Brief) -> TensorSpec:
    """What an engine says of a tensor. It tells the shapes of outputs to a context only, and runs are held to them."""
    if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT:
        shape = ("any", *engine.get_tensor_profile_shape(name, 0)[2][1:])
    else:
        shape = next((spec.shape for spec in brief.outputs if spec.name == name), ())
    return TensorSpec(name, np.dtype(trt.nptype(engine.get_tensor_dtype(name))).name, shape)
