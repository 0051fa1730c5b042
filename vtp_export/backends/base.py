"""The contract of a backend file: a graph, or another format's file, becomes a build; a build becomes a session.

A file `backends/FORMAT.py` defines `class Backend(base.Backend)`. Importing it must cost nothing: its libraries are
imported inside the methods. `build()` from a graph may import torch; nothing else may, unless the format cannot be run
without it.

Laws, checked for every file: the artefact agrees with eager for every pruner; outputs of one run survive the next;
batch b equals b single images; leaving the `with` block closes; `missing()` names what to install; a device that is
not there is refused; the packages that a check depends on are named; no two formats have the same rank.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from vtp_export.errors import ArtefactError, UnavailableError
from vtp_export.progress import Progress
from vtp_export.runtime.brief import Brief
from vtp_export.runtime.changing import record_files
from vtp_export.runtime.session import Session
from vtp_export.settings import check
from vtp_export.spec import BatchRange, Build, EngineRecord, TensorSpec

IDENTITY = "vtp_export.manifest"
"""Under this name a main file carries the identity of its manifest, where the format has a place for names."""


@dataclass(frozen=True)
class FormatOptions:
    """Of a format that has none; those of others derive from it, and declare what can be set (see `settings.py`)."""

    def __post_init__(self) -> None:
        """Hold every option to its rule."""
        check(self)


class Backend(ABC):
    """One artefact format. A class that lacks any of the abstract names below cannot be used."""

    loops: ClassVar[bool] = True
    """Whether its graphs may have the loop operator; without, the rounds of greedy methods are unrolled."""

    int8: ClassVar[tuple[str, ...]] = ()
    """Forms of int8 that a graph for it may hold: "blocks", "static" (see `precision.int8`), the usual first."""

    Options: ClassVar[type[FormatOptions]] = FormatOptions
    """What can be set when a build is opened."""

    BuildOptions: ClassVar[type[FormatOptions]] = FormatOptions
    """What can be set when it is built."""

    signals: ClassVar[bool] = False
    """Whether its files can return signals besides, and leave them where nobody asks (`Brief.signals`)."""

    packages: ClassVar[tuple[str, ...]] = ()
    """Whose versions decide what comes out of a run: a new one is to be checked anew."""

    @property
    @abstractmethod
    def devices(self) -> tuple[str, ...]:
        """Where it can run at all, whether or not this machine has it, the usual first: "cpu", "cuda", "gpu", "npu"."""

    @property
    @abstractmethod
    def rank(self) -> int:
        """Formats are tried in ascending order where none is named."""

    @property
    @abstractmethod
    def source(self) -> Literal["graph", "onnx", "pt2"]:
        """What it is built from: the graph itself, or the main file of another format, which takes no torch."""

    @property
    @abstractmethod
    def main(self) -> str:
        """Name of the main file that is built on this machine.

        Raises:
            UnavailableError: the name depends on a device that is not there.
        """

    @abstractmethod
    def missing(self) -> str | None:
        """Why this machine cannot open such a file, with the command that would help; None when it can."""

    def missing_to_build(self) -> str | None:
        """Why this machine cannot build such a file; what `missing` says, but where building takes less."""
        return self.missing()

    @abstractmethod
    def build(self, source: Any, brief: Brief, folder: Path, progress: Progress) -> Build:
        """Write `main`, and what belongs to it, into `folder`.

        Args:
            source: an `nn.Module` where `source` is "graph", else the path of that format's main file.
            brief: what was promised.
            folder: of the artefact, or a fresh one inside of it.
            progress: told of every long step.

        Returns:
            See `built`.

        Raises:
            ExportError: the source cannot be turned into this format.
            UnavailableError: what it takes is not installed.
        """

    def unable(self, precision: str, device: str) -> str | None:
        """Why this machine cannot compute in a precision on a device, or None; reads no file.

        Args:
            precision: as the manifest names it.
            device: one of `devices`; what it can run.
        """
        return None

    def unfit(self, build: Build) -> str | None:
        """Why a build that was compiled elsewhere cannot run on this machine, or None; reads no file.

        Raises:
            UnavailableError: the machine has no such device.
        """
        return None

    @abstractmethod
    def open(self, folder: Path, build: Build, brief: Brief, device: str, threads: int | None, options: Any) -> Session:
        """Load a build. The caller has verified its digests.

        Args:
            folder: of the artefact.
            build: one of this format, that is not `unfit`.
            brief: what was promised.
            device: one of `devices`. It is an order: where it cannot run, opening fails and never falls back.
            threads: CPU threads of one run, or None for as many as the process may use.
            options: an `Options`.

        Raises:
            UnavailableError: the runtime is not installed, or cannot run on the device.
            ArtefactError: the runtime refuses the file, or the file is of another manifest, or has other inputs or
                outputs than were promised.
        """

    @property
    def format(self) -> str:
        """Its name, which is that of its file."""
        return type(self).__module__.rpartition(".")[2]

    def built(self, folder: Path, *beside: str, engine: EngineRecord | None = None) -> Build:
        """The record of what has been written into `folder`: `main`, and the files beside it."""
        return Build(
            self.format, self.main, record_files(folder, [Path(name) for name in (self.main, *beside)]), engine
        )

    def device(self, asked: str | None) -> str:
        """The device that was asked for, or the usual one.

        Raises:
            UnavailableError: this format does not run there.
        """
        if asked is not None and asked not in self.devices:
            raise UnavailableError(f"{self.format} runs on {' or '.join(self.devices)}, not on {asked}")
        return asked or self.devices[0]


def refuse_other_tensors(present: Collection[TensorSpec], brief: Brief, build: Build) -> None:
    """See that a file takes and returns what was promised, as far as its runtime tells before a run.

    Args:
        present: what the file has, inputs and outputs. An axis that is told by a text may have any length.
        brief: what was promised.
        build: of the file.

    Raises:
        ArtefactError: an input or output is missing, or has another dtype or shape.
    """
    known = {spec.name: spec for spec in present}
    promised = (*brief.inputs, *brief.outputs)
    if absent := [spec.name for spec in promised if spec.name not in known]:
        raise ArtefactError(
            f"{build.main} has {', '.join(known)}, and the manifest promises {', '.join(absent)} too; {brief.remedy}"
        )
    for spec in promised:
        other = known[spec.name]
        if other.dtype != spec.dtype or not _may_be(other.shape, spec.shape, brief.batch):
            raise ArtefactError(
                f"{build.main} has '{spec.name}' as {other.dtype} {list(other.shape)}, and the manifest promises "
                f"{spec.dtype} {list(spec.shape)} for batches of {brief.batch.min} to {brief.batch.max}; "
                f"{brief.remedy}"
            )


def refuse_other_batches(low: float, high: float, brief: Brief, build: Build) -> None:
    """See that a file takes the batches that were promised.

    Raises:
        ArtefactError: it takes no smaller ones than `low`, or no larger ones than `high`, and such were promised.
    """
    batch = brief.batch
    if not low <= batch.min <= batch.max <= high:
        raise ArtefactError(
            f"{build.main} takes batches of {low} to {high}, and the manifest promises {batch.min} to {batch.max}; "
            f"{brief.remedy}"
        )


def _may_be(shape: tuple[int | str, ...], promised: tuple[int | str, ...], batch: BatchRange) -> bool:
    fixed = batch.min if batch.min == batch.max else None
    lengths = [fixed if axis == "b" else axis for axis in promised]
    return len(shape) == len(promised) and all(
        isinstance(axis, str) or axis == length for axis, length in zip(shape, lengths, strict=True)
    )


def refuse_other_identity(found: str | None, brief: Brief, build: Build) -> None:
    """See that a file was made for the manifest that tells of it, unless another tool has made it since.

    Raises:
        ArtefactError: it was not.
    """
    if found != brief.identity and not brief.foreign:
        raise ArtefactError(
            f"{build.main} was made for another manifest ({(found or 'it names none')[:12]} instead of "
            f"{brief.identity[:12]}); export again"
        )
