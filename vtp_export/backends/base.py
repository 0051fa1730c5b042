"""The contract of a backend file: a graph becomes a file, a file becomes a session.

A file `backends/FORMAT.py` defines `class Backend(base.Backend)`. Importing it must cost nothing: its libraries are
imported inside the methods. `build()` may import torch; `open()` may not, unless the format cannot be run without it.

Laws, checked for every file: the artefact agrees with eager for every pruner; outputs of one run survive the next;
batch b equals b single images; leaving the `with` block closes; `missing()` names what to install; a provider that is
not there is refused.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from vtp_export.errors import UnavailableError, UnknownNameError
from vtp_export.runtime.artefact import Artefact
from vtp_export.spec import BatchRange, EngineRecord, TensorSpec

if TYPE_CHECKING:
    from torch import nn

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


@dataclass(frozen=True)
class Plan:
    """What a backend must know of a graph besides the graph.

    identity: digest of the manifest, to be carried in the file where the format has a place for it.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    batch: BatchRange
    identity: str


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


class Backend(Protocol):
    """One artefact format."""

    loop_free: bool = False
    """Whether graphs for this format never have the loop operator: the rounds of greedy methods are unrolled."""

    usual: str = "cpu"
    """The provider that runs such a file where none is named."""

    int8: tuple[str, ...] = ()
    """Forms of int8 that a graph for this format may hold: "dynamic", "static" (see `graphs.int8`), the usual first."""

    providers: tuple[str, ...] = PROVIDERS
    """What can run such a file at all, whether or not this machine has it."""

    def missing(self) -> str | None:
        """Why this machine cannot open such a file, with the command that would help; None when it can."""
        ...

    def build(self, graph: "nn.Module", plan: Plan, folder: Path) -> list[Path]:
        """Write `model.*` into `folder`.

        Returns:
            Every file written, the main one first.

        Raises:
            ExportError: the graph cannot be turned into this format.
        """
        ...

    def engines(self, files: Sequence[Path]) -> dict[str, EngineRecord]:
        """What files that were just built were compiled on, by name; empty where they run anywhere."""
        return {}

    def file(self, artefact: Artefact, fmt: str) -> Path:
        """The main file to open here, chosen by what the manifest says; reads no other file.

        Args:
            artefact: with at least one file of the format.
            fmt: the format's name.

        Raises:
            ArtefactError: none of its files was compiled for this machine; says what to build.
        """
        return artefact.model_file(fmt)

    def open(self, path: Path, outputs: tuple[str, ...], options: OpenOptions) -> Session:
        """Load the main file. The caller has verified its digest.

        Args:
            path: the main file.
            outputs: names in order.
            options: see `OpenOptions`.

        Raises:
            UnavailableError: the runtime is not installed, or cannot run on the provider.
            ArtefactError: the runtime refuses the file.
        """
        ...
