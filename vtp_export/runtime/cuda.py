"""Device memory, streams and graphs without torch, through NVIDIA's `cuda-bindings`."""

import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np

from vtp_export.errors import UnavailableError
from vtp_export.extras import install


def missing(extra: str = "tensorrt") -> str | None:
    """Why CUDA cannot be used from here, or None. Does not touch a device.

    Args:
        extra: of `pyproject.toml`, whose libraries are to be installed.
    """
    if importlib.util.find_spec("cuda") is None or importlib.util.find_spec("cuda.bindings") is None:
        jetson = (
            ", or on a Jetson, where TensorRT comes with JetPack, pip install 'cuda-bindings==12.9.*' (JetPack 6) or "
            "'cuda-bindings>=13' (JetPack 7)"
        )
        return f"cuda-bindings is not installed: {install(extra)}{jetson if extra == 'tensorrt' else ''}"
    return None


def runtime() -> Any:
    """The module `cuda.bindings.runtime`."""
    from cuda.bindings import runtime

    return runtime


def checked(answer: tuple[Any, ...]) -> Any:
    """The results of a call, which come after an error code.

    Raises:
        UnavailableError: the code is not 0; says which.
    """
    error, *results = answer
    if int(error) != 0:
        _, text = runtime().cudaGetErrorString(error)
        said = text.decode() if isinstance(text, bytes) else str(text)
        raise UnavailableError(f"CUDA says: {said} ({getattr(error, 'name', int(error))})")
    return results[0] if len(results) == 1 else tuple(results)


def device() -> int:
    """Number of the current device.

    Raises:
        UnavailableError: there is no device, or no driver for it.
    """
    return int(checked(runtime().cudaGetDevice()))


def compute_capability() -> str:
    """Of the current device, as "8.7".

    Raises:
        UnavailableError: there is no device, or no driver for it.
    """
    cuda = runtime()
    wanted, number = cuda.cudaDeviceAttr, device()
    major = checked(cuda.cudaDeviceGetAttribute(wanted.cudaDevAttrComputeCapabilityMajor, number))
    minor = checked(cuda.cudaDeviceGetAttribute(wanted.cudaDevAttrComputeCapabilityMinor, number))
    return f"{major}.{minor}"


def device_name() -> str:
    """Of the current device.

    Raises:
        UnavailableError: as `compute_capability`.
    """
    name = checked(runtime().cudaGetDeviceProperties(device())).name
    return name.decode() if isinstance(name, bytes) else str(name)


class Buffer:
    """Device memory of a fixed size, freed by `free` or with its last reference."""

    def __init__(self, nbytes: int) -> None:
        self.nbytes = nbytes
        self.pointer = int(checked(runtime().cudaMalloc(max(nbytes, 1))))

    def free(self) -> None:
        """Give the memory back; nothing the second time."""
        if self.pointer:
            pointer, self.pointer = self.pointer, 0
            checked(runtime().cudaFree(pointer))

    def __del__(self) -> None:
        """Not checked: the interpreter may be going down, and CUDA with it."""
        if getattr(self, "pointer", 0):
            runtime().cudaFree(self.pointer)


class Stream:
    """A CUDA stream with the few things that are done in it; `handle` is its address."""

    def __init__(self) -> None:
        self._stream = checked(runtime().cudaStreamCreate())

    @property
    def handle(self) -> int:
        """What other libraries call the stream."""
        return int(self._stream)

    def upload(self, array: np.ndarray, pointer: int) -> None:
        """Copy a C-contiguous array to the device; it must live until `wait`."""
        self._copy(pointer, array.ctypes.data, array.nbytes, "cudaMemcpyHostToDevice")

    def download(self, pointer: int, array: np.ndarray) -> None:
        """Fill a C-contiguous array from the device; it is filled after `wait`."""
        self._copy(array.ctypes.data, pointer, array.nbytes, "cudaMemcpyDeviceToHost")

    def move(self, source: int, target: int, nbytes: int) -> None:
        """Copy from device to device."""
        self._copy(target, source, nbytes, "cudaMemcpyDeviceToDevice")

    def _copy(self, target: int, source: int, nbytes: int, kind: str) -> None:
        cuda = runtime()
        checked(cuda.cudaMemcpyAsync(target, source, nbytes, getattr(cuda.cudaMemcpyKind, kind), self._stream))

    def wait(self) -> None:
        """Until all is done that was asked of the stream."""
        checked(runtime().cudaStreamSynchronize(self._stream))

    def captured(self, work: Callable[[], None]) -> "Graph":
        """What `work` asks of this stream, as a graph that can be launched again and again."""
        cuda = runtime()
        mode = cuda.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        checked(cuda.cudaStreamBeginCapture(self._stream, mode))
        try:
            work()
        finally:
            graph = checked(cuda.cudaStreamEndCapture(self._stream))
        return Graph(graph)

    def launch(self, graph: "Graph") -> None:
        """Put a captured graph into the stream."""
        checked(runtime().cudaGraphLaunch(graph.executable, self._stream))

    def destroy(self) -> None:
        """Give the stream back."""
        checked(runtime().cudaStreamDestroy(self._stream))


class Graph:
    """A captured piece of work."""

    def __init__(self, graph: Any) -> None:
        cuda = runtime()
        self.executable = checked(cuda.cudaGraphInstantiate(graph, 0))
        checked(cuda.cudaGraphDestroy(graph))

    def destroy(self) -> None:
        """Give it back."""
        checked(runtime().cudaGraphExecDestroy(self.executable))
