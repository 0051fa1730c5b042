"""The contract of a backend file: a graph becomes a file, a file becomes a session.

A file `backends/FORMAT.py` defines `class Backend(base.Backend)`. Importing it must cost nothing: its libraries are
imported inside the methods. `build()` may import torch; `open()` may not, unless the format cannot be run without it.

Laws, checked for every file: the artefact agrees with eager for every pruner; outputs of one run survive the next;
batch b equals b single images; leaving the `with` block closes; `missing()` names what to install; a provider that is
not there is refused.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from vtp_export.runtime.artefact import Artefact
from vtp_export.runtime.session import PROVIDERS, OpenOptions, Session
from vtp_export.spec import BatchRange, EngineRecord, TensorSpec

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Plan:
    """What a backend must know of a graph besides the graph.

    identity: digest of the manifest, to be carried in the file where the format has a place for it.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    batch: BatchRange
    identity: str


class Backend(Protocol):
    """One artefact format."""

    loop_free: bool = False
    """Whether graphs for this format never have the loop operator: the rounds of greedy methods are unrolled."""

    usual: str = "cpu"
    """The provider that runs such a file where none is named."""

    int8: tuple[str, ...] = ()
    """Forms of int8 that a graph for this format may hold: "dynamic", "static" (`precision.int8`), the usual first."""

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
