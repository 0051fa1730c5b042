"""An opened file of an artefact, of whatever format, and how it is to be run."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from vtp_export.errors import UnavailableError, UnknownNameError

Arrays = Mapping[str, np.ndarray]

PROVIDERS = ("cpu", "cuda", "tensorrt")


@dataclass(frozen=True)
class OpenOptions:
    """How a file is to be run.

    threads: CPU threads of one run, or None for the runtime's own choice.
    provider: one of `PROVIDERS`, or None for the format's usual: the GPU for a TensorRT plan, else the CPU. It is an
        order: a backend that cannot run there refuses, and never falls back.

    cuda_graphs: of a TensorRT plan: capture the work of each batch size at its second run. Nothing elsewhere.

    Raises:
        UnknownNameError: there is no such provider.
    """

    threads: int | None = None
    provider: str | None = None
    cuda_graphs: bool = False

    def __post_init__(self) -> None:
        if self.where not in PROVIDERS:
            raise UnknownNameError("provider", self.where, PROVIDERS)

    @property
    def where(self) -> str:
        """The provider, for a format whose usual is the CPU."""
        return "cpu" if self.provider is None else self.provider


class Session(Protocol):
    """A loaded file. Leaving the `with` block frees it. Safe to use from several threads at once."""

    notes: tuple[str, ...] = ()
    """What the user should know of how it runs, a sentence each."""

    def __enter__(self) -> "Session":
        """Itself."""
        ...

    def __exit__(self, *exc: object) -> None:
        """Free the runtime's memory."""
        ...

    def run(self, inputs: Arrays) -> dict[str, np.ndarray]:
        """Outputs by name, in the order of the manifest, in memory that the caller owns.

        Args:
            inputs: arrays by name, checked against the manifest by the caller.
        """
        ...

    def run_device(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """As `run`, with arrays that stay on the provider's device.

        Args:
            inputs: contiguous arrays with `__dlpack__` on that device; they are not copied. Work that makes them must
                be finished, or be queued on the device's default stream.

        Returns:
            Objects with `__dlpack__` and `__dlpack_device__`, finished; their memory is not used again.

        Raises:
            UnavailableError: this format, or the version of its runtime, has no such way.
        """
        raise UnavailableError("this format returns NumPy arrays only; use run")
