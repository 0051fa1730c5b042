"""ExecuTorch: a `.pte` made from the `.pt2` file, for phones and boards; here its Python runtime runs it, with torch.

What XNNPACK has kernels for is handed to it, the rest runs on ExecuTorch's portable ones. The file takes one size of
batch, the smallest of the artefact, and a larger batch is run in parts.
"""

import contextlib
import importlib.util
import logging
import threading
import warnings
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vtp_export.backends import base
from vtp_export.backends._torch import TorchSession, ensure_room, example_inputs, missing_torch, prepare
from vtp_export.errors import ArtefactError, ExportError, UnavailableError
from vtp_export.extras import install
from vtp_export.progress import Progress
from vtp_export.runtime.brief import Brief
from vtp_export.runtime.machine import cores
from vtp_export.runtime.session import Session
from vtp_export.runtime.versions import is_older, version
from vtp_export.spec import Build, TensorSpec

if TYPE_CHECKING:
    from torch import Tensor
    from torch.export import ExportedProgram

OLDEST = "1.5"
LEFT_OUT = ("MinimumConfig", "MaximumConfig", "MaxDimConfig", "CatConfig")
"""What XNNPACK does not get: between the rounds of a greedy method each would be a partition by itself, and a partition
takes a second to lower (105 of them instead of 42, and 141 s instead of 25, for `adaptive` with 64 rounds)."""

DTYPES = {4: "int64", 5: "float16", 6: "float32", 7: "float64", 11: "bool", 15: "bfloat16"}
"""NumPy's names of torch's numbers for them."""

RUNS = threading.RLock()
"""All runs of a process share one pool of threads, and a method holds on to the pool that it was loaded with."""

LOADED: "weakref.WeakSet[_InParts]" = weakref.WeakSet()
"""The programs whose methods are loaded."""


class Backend(base.Backend):
    """`model.pte`."""

    devices = ("cpu",)
    rank = 50
    source = "pt2"
    loops = False
    main = "model.pte"
    packages = ("executorch", "torch")

    def missing(self) -> str | None:
        """See `base.Backend`."""
        if reason := missing_torch():
            return reason
        if importlib.util.find_spec("executorch") is None:
            return f"executorch is not installed: {install('executorch')}"
        present = version("executorch")
        if present is not None and is_older(present, OLDEST):
            return f"executorch {present} is installed, and {OLDEST} or newer is needed: {install('executorch')}"
        return None

    def build(self, source: Path, brief: Brief, folder: Path, progress: Progress) -> Build:
        """Fix the batch of a `.pt2` without loops, and lower it."""
        if reason := self.missing():
            raise UnavailableError(reason)
        progress("ExecuTorch: lowering, which takes a while")
        with _contained():
            program = _with_one_batch(source, brief)
            ensure_room(program.module(), folder)
            try:
                lowered = _lowered(program, brief)
            except Exception as error:  # of many modules, none documented
                told = (str(error).strip() or type(error).__name__).splitlines()[0]
                raise ExportError(f"ExecuTorch cannot lower {source.name}: {told}") from error
        with (folder / self.main).open("wb") as file:
            lowered.write_to_file(file)
        return self.built(folder)

    def open(
        self, folder: Path, build: Build, brief: Brief, device: str, threads: int | None, options: base.FormatOptions
    ) -> Session:
        """Load into ExecuTorch's Python runtime."""
        if reason := self.missing():
            raise UnavailableError(reason)
        prepare(device)
        with _contained():
            from executorch.extension.pybindings import portable_lib

            path = folder / build.main
            try:
                call = _InParts(portable_lib._load_program(str(path)), threads or cores())
            except RuntimeError as error:
                raise ArtefactError(f"ExecuTorch refuses {build.main}: {str(error).splitlines()[0]}") from error
        base.refuse_other_identity(call.identity(), brief, build)
        base.refuse_other_tensors(call.tensors(brief), brief, build)
        return TorchSession(call, brief.outputs, device)


def _with_one_batch(source: Path, brief: Brief) -> "ExportedProgram":
    """The program of a file for batches of the smallest size.

    Raises:
        ExportError: it has loops, or cannot be read.
    """
    import torch

    try:
        whole = torch.export.load(source)
        program = torch.export.export(whole.module(), example_inputs(brief, brief.batch.min), strict=False)
    except Exception as error:  # as in `pt2`
        raise ExportError(f"torch.export refuses {source.name}: {str(error).strip().splitlines()[0]}") from error
    if any("while_loop" in str(node.target) for node in program.graph.nodes):
        raise ExportError(f"ExecuTorch has no loops, and {source.name} has; export it with --loop-free")
    return program


def _lowered(program: "ExportedProgram", brief: Brief) -> Any:
    from executorch.backends.xnnpack.partition.config import ALL_PARTITIONER_CONFIGS
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import EdgeCompileConfig, to_edge_transform_and_lower

    configs = [config for config in ALL_PARTITIONER_CONFIGS if config.__name__ not in LEFT_OUT]
    edge = to_edge_transform_and_lower(
        program,
        partitioner=[XnnpackPartitioner(configs=configs)],
        compile_config=EdgeCompileConfig(_check_ir_validity=False),
        constant_methods={base.IDENTITY: brief.identity},
    )
    return edge.to_executorch()


class _InParts:
    """A program that takes one size of batch, for batches of any.

    Args:
        program: as the library has loaded it.
        threads: of the pool while it runs.
    """

    def __init__(self, program: Any, threads: int) -> None:
        self._program, self._threads = program, threads
        self._method: Any = None
        with RUNS:
            self._meta = self._ready().method_meta()
        self._size: int = self._meta.input_tensor_meta(0).sizes()[0]

    def _ready(self) -> Any:
        """The method, on a pool of its size: another size takes the pool away from every method that was loaded."""
        from executorch.extension.pybindings import portable_lib

        if portable_lib._threadpool_get_thread_count() != self._threads:
            for other in LOADED:
                other._method = None
            portable_lib._unsafe_reset_threadpool(self._threads)
        if self._method is None:
            self._method = self._program.load_method("forward")
            LOADED.add(self)
        return self._method

    def identity(self) -> str | None:
        """What the file carries."""
        names = [self._program.get_method_name(i) for i in range(self._program.num_methods())]
        return self._program.load_method(base.IDENTITY).call(())[0] if base.IDENTITY in names else None

    def tensors(self, brief: Brief) -> list[TensorSpec]:
        """What the file takes and returns, by place."""
        meta = self._meta
        inputs = [meta.input_tensor_meta(i) for i in range(meta.num_inputs())]
        outputs = [meta.output_tensor_meta(i) for i in range(meta.num_outputs())]
        return [
            TensorSpec(spec.name, DTYPES.get(info.dtype(), str(info.dtype())), ("any", *info.sizes()[1:]))
            for specs, infos in ((brief.inputs, inputs), (brief.outputs, outputs))
            for spec, info in zip(specs, infos, strict=False)
        ]

    def __call__(self, *tensors: "Tensor") -> list["Tensor"]:
        """Outputs (b, ...) of inputs (b, ...)."""
        import torch

        parts = []
        for start in range(0, len(tensors[0]), self._size):
            given = [tensor[start : start + self._size] for tensor in tensors]
            real = len(given[0])
            full = [torch.cat([part, *[part[-1:]] * (self._size - real)]).contiguous() for part in given]
            with RUNS:
                results = self._ready().call(full)
            parts.append([result[:real] for result in results])
        return [torch.cat(pieces) for pieces in zip(*parts, strict=True)]


@contextlib.contextmanager
def _contained() -> Iterator[None]:
    """Keep what ExecuTorch's own parts warn of away from the user."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
