"""The GPU of this machine under the FAKE of TensorRT: memory, streams, copies and graphs are real, the plan is not.

What the fake computes it computes on the host, called by the stream in its turn, between real copies; so a graph can
capture it. Nothing is allocated while that is queued, because a capture allows no allocation.
"""

import ctypes
import math

import numpy as np

from vtp_export.runtime import cuda

ROOM = 2**28
"""Bytes of page-locked memory for all copies to and from the host; captured ones keep theirs."""


def why_none():
    """Why there is no GPU to test with, or None."""
    if reason := cuda.missing():
        return reason
    error, count = cuda.runtime().cudaGetDeviceCount()
    return None if int(error) == 0 and count else f"no GPU, or no driver for it ({error.name})"


class Captures:
    """The streams that are being captured."""

    def __contains__(self, stream):
        status = cuda.checked(cuda.runtime().cudaStreamIsCapturing(stream))
        return status == cuda.runtime().cudaStreamCaptureStatus.cudaStreamCaptureStatusActive


class Gpu:
    """In the place of `fake_cuda.Device`.

    `errors`: what went wrong where a stream called, and nobody could catch it.
    """

    def __init__(self):
        major, minor = cuda.compute_capability().split(".")
        self.capability, self.captures, self.errors = (int(major), int(minor)), Captures(), []
        self._room, self._used, self._alive = cuda.checked(cuda.runtime().cudaMallocHost(ROOM)), 0, []

    def modules(self):
        """The real ones stay."""
        return {}

    def free(self):
        """When nothing is queued any more."""
        cuda.checked(cuda.runtime().cudaFreeHost(self._room))

    def _host(self, shape, dtype):
        size = math.prod(shape) * dtype.itemsize
        start = int(self._room) + self._used
        self._used += -(-size // 256) * 256
        assert self._used <= ROOM, "too many runs for the page-locked memory of this test"
        return np.frombuffer((ctypes.c_char * size).from_address(start), dtype=dtype).reshape(shape)

    def compute(self, stream, inputs, outputs, work):
        """See `fake_cuda.Device.compute`."""
        runtime = cuda.runtime()
        given, made = ([self._host(shape, dtype) for _, shape, dtype in places] for places in (inputs, outputs))

        def call(_):
            try:
                for host, found in zip(made, work([array.copy() for array in given]), strict=True):
                    host[...] = found
            except BaseException as error:
                self.errors.append(error)

        called = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(call)
        self._alive.append((called, given, made))
        kinds = runtime.cudaMemcpyKind
        for (pointer, _, _), host in zip(inputs, given, strict=True):
            kind = kinds.cudaMemcpyDeviceToHost
            cuda.checked(runtime.cudaMemcpyAsync(host.ctypes.data, pointer, host.nbytes, kind, stream))
        cuda.checked(runtime.cudaLaunchHostFunc(stream, ctypes.cast(called, ctypes.c_void_p).value, 0))
        for (pointer, _, _), host in zip(outputs, made, strict=True):
            kind = kinds.cudaMemcpyHostToDevice
            cuda.checked(runtime.cudaMemcpyAsync(pointer, host.ctypes.data, host.nbytes, kind, stream))
