"""Run a TensorRT plan: buffers on the device, one stream, NumPy or DLPack in and out."""

import math
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vtp_export.backends._tensorrt_build import logger
from vtp_export.backends.base import Arrays, Session
from vtp_export.errors import ArtefactError, ImageError
from vtp_export.runtime.cuda import Buffer, Graph, Stream
from vtp_export.runtime.dlpack import CUDA, DeviceArray, borrowed


@dataclass(frozen=True)
class _Tensor:
    """An input or output of the engine, in a buffer that holds its largest batch."""

    name: str
    dtype: np.dtype[Any]
    is_input: bool
    buffer: Buffer


class TensorrtSession(Session):
    """An engine with one execution context. Runs take turns: a context does one thing at a time.

    Args:
        path: the plan; its digest and what it was built on have been checked.
        outputs: names in order.
        cuda_graphs: capture the work of each batch size at its first run, and launch the capture from then on.

    Raises:
        ArtefactError: TensorRT refuses the plan; relays its words.
    """

    def __init__(self, path: Path, outputs: tuple[str, ...], cuda_graphs: bool = False) -> None:
        import tensorrt as trt

        self._log = logger()
        self._runtime = trt.Runtime(self._log)  # must outlive the engine
        engine = self._runtime.deserialize_cuda_engine(path.read_bytes())
        if engine is None:
            raise ArtefactError(f"TensorRT refuses {path.name}: {self._log.last() or 'it gave no reason'}")
        self._engine, self._context = engine, engine.create_execution_context()
        self._outputs, self._lock, self._stream = outputs, threading.Lock(), Stream()
        self._graphs: dict[tuple[int, ...], Graph] | None = {} if cuda_graphs else None
        self._warm: set[tuple[int, ...]] = set()
        self._tensors = self._allocated(trt)

    def _allocated(self, trt: Any) -> dict[str, _Tensor]:
        engine, context = self._engine, self._context
        names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
        inputs = [name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT]
        for name in inputs:
            largest = engine.get_tensor_profile_shape(name, 0)[2]
            context.set_input_shape(name, tuple(largest))
        found = {}
        for name in names:
            dtype = np.dtype(trt.nptype(engine.get_tensor_dtype(name)))
            buffer = Buffer(math.prod(tuple(context.get_tensor_shape(name))) * dtype.itemsize)
            context.set_tensor_address(name, buffer.pointer)
            found[name] = _Tensor(name, dtype, name in inputs, buffer)
        return found

    def __enter__(self) -> "TensorrtSession":
        """Itself."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Free the device's memory."""
        with self._lock:
            if self._context is not None:
                for graph in (self._graphs or {}).values():
                    graph.destroy()
                for tensor in self._tensors.values():
                    tensor.buffer.free()
                self._stream.destroy()
                self._context = self._engine = self._runtime = None

    def run(self, inputs: Arrays) -> dict[str, np.ndarray]:
        """See `base.Session`."""
        arrays = {name: np.ascontiguousarray(array) for name, array in inputs.items()}
        with self._turn({name: array.shape for name, array in arrays.items()}) as shapes:
            for name, array in arrays.items():
                self._stream.upload(array, self._tensors[name].buffer.pointer)
            self._execute(shapes)
            results = {name: np.empty(self._shape(name), self._tensors[name].dtype) for name in self._outputs}
            for name, result in results.items():
                self._stream.download(self._tensors[name].buffer.pointer, result)
            self._stream.wait()
        return results

    def run_device(self, inputs: Mapping[str, Any]) -> dict[str, DeviceArray]:
        """The same, without leaving the device.

        Args:
            inputs: tensors on this GPU, of any library that has DLPack.

        Returns:
            Arrays by name that any such library takes over, `torch.from_dlpack(found["tokens"])`, owning their memory.

        Raises:
            ImageError: a tensor is not on the GPU, or not in C order, or of another dtype.
        """
        with self._views(inputs) as views, self._turn({n: view.shape for n, view in views.items()}) as shapes:
            for name, view in views.items():
                self._stream.move(view.pointer, self._tensors[name].buffer.pointer, view.nbytes)
            self._execute(shapes)
            results = {}
            for name in self._outputs:
                shape, tensor = self._shape(name), self._tensors[name]
                mine = Buffer(math.prod(shape) * tensor.dtype.itemsize)
                self._stream.move(tensor.buffer.pointer, mine.pointer, mine.nbytes)
                results[name] = DeviceArray(mine.pointer, shape, tensor.dtype, (CUDA, 0), mine)
            self._stream.wait()
        return results

    @contextmanager
    def _views(self, inputs: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        from contextlib import ExitStack

        with ExitStack() as stack:
            views = {n: stack.enter_context(borrowed(tensor, self._stream.handle)) for n, tensor in inputs.items()}
            for name, view in views.items():
                if view.device[0] != CUDA:
                    raise ImageError(
                        f"{name} lies on DLPack's device {view.device}; it must be on the GPU, ({CUDA}, 0)"
                    )
                if view.dtype != self._tensors[name].dtype:
                    raise ImageError(f"{name} is {view.dtype}; it must be {self._tensors[name].dtype}")
            yield views

    @contextmanager
    def _turn(self, shapes: dict[str, tuple[int, ...]]) -> Iterator[tuple[int, ...]]:
        """The context to oneself, with its input shapes set."""
        with self._lock:
            if self._context is None:
                raise ValueError("this session is closed")
            for name, shape in shapes.items():
                if not self._context.set_input_shape(name, tuple(shape)):
                    raise ImageError(f"{name} has shape {tuple(shape)}, outside of what the plan was built for")
            yield tuple(length for shape in shapes.values() for length in shape)

    def _shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._context.get_tensor_shape(name))

    def _execute(self, shapes: tuple[int, ...]) -> None:
        if self._graphs is not None and shapes in self._warm:
            if shapes not in self._graphs:
                self._graphs[shapes] = self._stream.captured(self._enqueue)
            self._stream.launch(self._graphs[shapes])
            return
        self._enqueue()  # the first run of a shape may allocate, which must not be captured
        self._warm.add(shapes)

    def _enqueue(self) -> None:
        if not self._context.execute_async_v3(self._stream.handle):
            raise ArtefactError(f"TensorRT could not run the plan: {self._log.last() or 'it gave no reason'}")
