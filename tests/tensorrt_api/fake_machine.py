"""A FAKE machine with TensorRT and a GPU: its modules take the place of the real ones."""

import sys
import types
from importlib.machinery import ModuleSpec

from tests.tensorrt_api import fake_cuda, fake_tensorrt


class World:
    """The fakes of one machine."""

    def __init__(self, patch, version="10.3.0", capability=None, **faults):
        usual = (8, 6) if version == fake_tensorrt.RTX else (8, 7)
        self.patch, self.device = patch, fake_cuda.Device(capability or usual)
        self.become(version, **faults)

    def become(self, version, capability=None, **faults):
        """Another machine, with the same memory."""
        self.device.capability = capability or self.device.capability
        self.fake = fake_tensorrt.Module(version, self.device, fake_tensorrt.Faults(**faults))
        modules = {self.fake.name: self.fake.module, "cuda": types.ModuleType("cuda")}
        modules |= {"cuda.bindings": types.ModuleType("cuda.bindings"), "cuda.bindings.runtime": self.device.module()}
        modules["cuda.bindings"].runtime = modules["cuda.bindings.runtime"]
        for name, module in modules.items():
            module.__spec__ = ModuleSpec(name, None)
            self.patch.setitem(sys.modules, name, module)


class ForGood:
    """In the place of pytest's monkeypatch, in a process of its own."""

    def setitem(self, held, key, value):
        held[key] = value
