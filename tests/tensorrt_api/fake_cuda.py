"""A FAKE of `cuda.bindings.runtime`: host memory that plays a device, for tests on machines without a GPU.

It knows only what is used, answers in the same form (an error code first), and refuses copies that leave an allocation.
Fresh memory is full of rubbish, and what is asked of a stream is done when somebody waits for it, and not before.
"""

import ctypes
import enum
import math
import types

import numpy as np


class Error(enum.IntEnum):
    """Codes of `cudaError_t`."""

    cudaSuccess = 0
    cudaErrorInvalidValue = 1
    cudaErrorMemoryAllocation = 2
    cudaErrorNoDevice = 100
    cudaErrorStreamCaptureUnsupported = 900


class Kind(enum.IntEnum):
    """Directions of `cudaMemcpyKind`."""

    cudaMemcpyHostToDevice = 1
    cudaMemcpyDeviceToHost = 2
    cudaMemcpyDeviceToDevice = 3


class Attribute(enum.IntEnum):
    """The two attributes of `cudaDeviceAttr` that are asked for."""

    cudaDevAttrComputeCapabilityMajor = 75
    cudaDevAttrComputeCapabilityMinor = 76


class Mode(enum.IntEnum):
    """`cudaStreamCaptureMode`."""

    cudaStreamCaptureModeThreadLocal = 1


OK = Error.cudaSuccess


class Device:
    """Memory, streams and captures. `capacity`: bytes; `capability`: (major, minor)."""

    def __init__(self, capability=(8, 7), capacity=2**30):
        self.capability, self.capacity = capability, capacity
        self.memory, self.streams, self.captures, self.graphs = {}, {}, {}, {}
        self.launches, self.made, self.absent = 0, 0, False

    def inside(self, pointer, size):
        return any(start <= pointer and pointer + size <= start + len(held) for start, held in self.memory.items())

    def enqueue(self, stream, work):
        """Remember it, for when somebody waits or for a capture."""
        self.captures.get(stream, self.streams[stream]).append(work)

    def compute(self, stream, inputs, outputs, work):
        """Enqueue a function of arrays; `inputs` and `outputs` are addresses with a shape and a dtype."""

        def array(pointer, shape, dtype):
            return np.frombuffer(self.memory[pointer], dtype=dtype, count=math.prod(shape)).reshape(shape)

        def call():
            for place, found in zip(outputs, work([array(*place).copy() for place in inputs]), strict=True):
                array(*place)[...] = found

        self.enqueue(stream, call)

    def finish(self, stream):
        while self.streams[stream]:
            self.streams[stream].pop(0)()

    def modules(self):
        """What is imported as `cuda.bindings.runtime`, and the packages that it is in."""
        packages = {name: types.ModuleType(name) for name in ("cuda", "cuda.bindings")}
        packages["cuda.bindings"].runtime = self.module()
        return packages | {"cuda.bindings.runtime": packages["cuda.bindings"].runtime}

    def module(self):
        """The module itself."""
        module = types.ModuleType("cuda.bindings.runtime")
        module.cudaMemcpyKind, module.cudaDeviceAttr, module.cudaStreamCaptureMode = Kind, Attribute, Mode
        for name in dir(self):
            if name.startswith("cuda"):
                setattr(module, name, getattr(self, name))
        return module

    def cudaGetDevice(self):
        return (Error.cudaErrorNoDevice, None) if self.absent else (OK, 0)

    def cudaDeviceGetAttribute(self, attribute, device):
        return OK, self.capability[attribute - Attribute.cudaDevAttrComputeCapabilityMajor]

    def cudaGetDeviceProperties(self, device):
        return OK, types.SimpleNamespace(name=b"a fake device")

    def cudaGetErrorString(self, error):
        return OK, error.name.encode()

    def cudaMalloc(self, size):
        if self.captures:
            return Error.cudaErrorStreamCaptureUnsupported, None
        if sum(map(len, self.memory.values())) + size > self.capacity:
            return Error.cudaErrorMemoryAllocation, None
        held = (ctypes.c_char * size)()
        ctypes.memset(held, 0xA5, size)
        self.memory[ctypes.addressof(held)] = held
        return OK, ctypes.addressof(held)

    def cudaFree(self, pointer):
        for stream in self.streams:  # it waits for the device
            self.finish(stream)
        return (OK,) if self.memory.pop(pointer, None) is not None else (Error.cudaErrorInvalidValue,)

    def cudaMemcpyAsync(self, target, source, size, kind, stream):
        device = {Kind.cudaMemcpyHostToDevice: [target], Kind.cudaMemcpyDeviceToHost: [source]}.get(
            kind, [target, source]
        )
        if stream not in self.streams or not all(self.inside(pointer, size) for pointer in device):
            return (Error.cudaErrorInvalidValue,)

        def copy():
            assert all(self.inside(pointer, size) for pointer in device), "the memory was freed before the copy"
            ctypes.memmove(target, source, size)

        self.enqueue(stream, copy)
        return (OK,)

    def cudaStreamCreate(self):
        self.made += 1
        self.streams[1000 + self.made] = []
        return OK, 1000 + self.made

    def cudaStreamDestroy(self, stream):
        self.finish(stream)
        del self.streams[stream]
        return (OK,)

    def cudaStreamSynchronize(self, stream):
        if stream in self.captures:
            return (Error.cudaErrorStreamCaptureUnsupported,)
        self.finish(stream)
        return (OK,)

    def cudaStreamBeginCapture(self, stream, mode):
        self.captures[stream] = []
        return (OK,)

    def cudaStreamEndCapture(self, stream):
        return OK, self.captures.pop(stream)

    def cudaGraphInstantiate(self, graph, flags):
        self.made += 1
        self.graphs[self.made] = graph
        return OK, self.made

    def cudaGraphDestroy(self, graph):
        return (OK,)

    def cudaGraphLaunch(self, executable, stream):
        self.launches += 1
        self.streams[stream] += self.graphs[executable]
        return (OK,)

    def cudaGraphExecDestroy(self, executable):
        del self.graphs[executable]
        return (OK,)
