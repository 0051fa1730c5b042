"""A FAKE machine with TensorRT and a GPU: its modules take the place of the real ones."""

import sys
from importlib.machinery import ModuleSpec

from tests.tensorrt_api import fake_cuda, fake_tensorrt


class World:
    """The fakes of one machine; `device` may be a real one."""

    def __init__(self, patch, version="10.3.0", capability=None, device=None, **faults):
        usual = (8, 6) if version == fake_tensorrt.RTX else (8, 7)
        self.patch, self.device = patch, device or fake_cuda.Device(capability or usual)
        self.become(version, **faults)

    def become(self, version, capability=None, **faults):
        """Another machine, with the same memory."""
        self.device.capability = capability or self.device.capability
        self.fake = fake_tensorrt.Module(version, self.device, fake_tensorrt.Faults(**faults))
        for name, module in {self.fake.name: self.fake.module, **self.device.modules()}.items():
            module.__spec__ = ModuleSpec(name, None)
            self.patch.setitem(sys.modules, name, module)


class ForGood:
    """In the place of pytest's monkeypatch, in a process of its own."""

    def setitem(self, held, key, value):
        held[key] = value
