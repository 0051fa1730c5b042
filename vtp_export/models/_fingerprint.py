"""What tells one set of weights from another."""

import hashlib
from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import Tensor


class Fingerprint:
    """What tells weights apart: SHA-256 over names, dtypes, shapes and bytes; and how many bytes they are.

    Args:
        tensors: by name; more may be added, as long as all come in the order of their names.
    """

    def __init__(self, tensors: Mapping[str, Tensor] = MappingProxyType({})) -> None:
        self._sha256, self.bytes = hashlib.sha256(), 0
        for name in sorted(tensors):
            self.add(name, tensors[name])

    @property
    def sha256(self) -> str:
        """Of what has been added."""
        return self._sha256.hexdigest()

    def mark(self, text: str) -> None:
        """Tell the same tensors apart that are used in different ways."""
        self._sha256.update(f"{text}\n".encode())

    def add(self, name: str, tensor: Tensor) -> None:
        """Count a tensor in, in the dtype it has."""
        self._sha256.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        self._sha256.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
        self.bytes += tensor.nbytes
