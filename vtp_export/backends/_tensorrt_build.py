"""Build a TensorRT plan from an ONNX file: needs TensorRT and a GPU, and no torch.

One code base for TensorRT 10.3 to 11: networks are strongly typed (the precision is in the graph), which 10 has to be
asked for and 11 does anyway.
"""

import os
from pathlib import Path
from typing import Any

from vtp_export.errors import ArtefactError, ExportError
from vtp_export.progress import Progress
from vtp_export.runtime import cuda
from vtp_export.runtime.brief import Brief
from vtp_export.runtime.replacing import locked
from vtp_export.runtime.writing import atomically


def build_plan(onnx: Path, brief: Brief, workspace_gb: float | None, progress: Progress) -> tuple[bytes, str]:
    """Parse and build.

    Args:
        onnx: the file; weights beside it are found from its path.
        brief: its batch becomes the optimisation profile, its identity the engine's name.
        workspace_gb: most device memory that a kernel may use for itself; None leaves it to TensorRT.
        progress: told of every phase of the build.

    Returns:
        The plan, and the engine inspector's report as JSON.

    Raises:
        ExportError: the parser refuses a node, or no engine could be built; relays TensorRT's words.
        BaseException: what `progress` raised, a KeyboardInterrupt among them; the build was stopped.
    """
    import tensorrt as trt

    log = logger()
    builder = trt.Builder(log)
    flags = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)  # 1 in 10.3 and 0 in 11: never write the number
    network = builder.create_network(flags)
    _parse(trt.OnnxParser(network, log), onnx, log)
    network.name = brief.identity  # after the parser, which may name it too; the metadata of the file do not come along
    config = builder.create_builder_config()
    # The erank branch needs float32 products, and TF32 rounds their inputs to ten bits; half precision is in the graph.
    config.clear_flag(trt.BuilderFlag.TF32)
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    monitor = config.progress_monitor = _monitor(progress)
    if workspace_gb is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, int(workspace_gb * 2**30))
    profile = builder.create_optimization_profile()
    for spec in brief.inputs:
        sizes = (brief.batch.min, brief.batch.opt, brief.batch.max)
        profile.set_shape(spec.name, *(tuple(size if axis == "b" else axis for axis in spec.shape) for size in sizes))
    config.add_optimization_profile(profile)
    cache = cache_file(trt.__version__)
    _use_cache(config, cache)
    built = builder.build_serialized_network(network, config)
    if monitor.stopped_by is not None:
        raise monitor.stopped_by
    if built is None:
        raise ExportError(f"TensorRT could not build an engine: {log.last() or 'it gave no reason'}")
    try:
        _merge_cache(config, cache)
    except (OSError, ArtefactError) as error:  # not worth a build that took ten minutes
        progress(f"timings of kernels are not kept: {error}", 0, 0)
    return bytes(built), _inspected(bytes(built), log)


def logger() -> Any:
    """A logger that keeps what went wrong."""
    import tensorrt as trt

    class Log(trt.ILogger):  # type: ignore[misc]
        """Remembers errors instead of printing them."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if int(severity) <= int(trt.ILogger.Severity.ERROR):
                self.errors.append(" ".join(message.split()))

        def last(self) -> str:
            return self.errors[-1] if self.errors else ""

    return Log()


def _parse(parser: Any, onnx: Path, log: Any) -> None:
    if parser.parse_from_file(str(onnx)):
        return
    told = []
    for i in range(parser.num_errors):
        error = parser.get_error(i)
        told.append(f"{error.node_name() or 'the file'} ({error.node_operator() or '?'}): {error.desc()}")
    reason = "; ".join(told) or log.last() or "it gave no reason"
    raise ExportError(f"TensorRT's parser refuses {reason}; 'vtp-export lint' may know the remedy")


def _monitor(progress: Progress) -> Any:
    import tensorrt as trt

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        """Passes every phase on. What is raised here would be lost in TensorRT, so it is kept and the build stopped."""

        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self._steps: dict[str, int] = {}
            self.stopped_by: BaseException | None = None

        def _tell(self, phase_name: str, done: int) -> None:
            try:
                progress(f"TensorRT: {phase_name}", done, self._steps.get(phase_name, 0))
            except BaseException as error:
                self.stopped_by = error

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self._steps[phase_name] = num_steps
            self._tell(phase_name, 0)

        def step_complete(self, phase_name: str, step: int) -> bool:
            self._tell(phase_name, step + 1)
            return self.stopped_by is None  # whether to go on

        def phase_finish(self, phase_name: str) -> None:
            self._steps.pop(phase_name, None)

    return Monitor()


def _inspected(plan: bytes, log: Any) -> str:
    """Layers of the engine, their precisions and tactics, as TensorRT tells them."""
    import tensorrt as trt

    engine = trt.Runtime(log).deserialize_cuda_engine(plan)
    if engine is None:
        raise ExportError(f"TensorRT does not read the plan that it just built: {log.last() or 'it gave no reason'}")
    text: str = engine.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON)
    return text


def cache_file(version: str) -> Path:
    """Where timings of kernels are kept, for one TensorRT version on one kind of GPU."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vtp-export"
    return home / f"timings-tensorrt-{version}-sm{cuda.compute_capability().replace('.', '')}.cache"


def _read(cache: Path) -> bytes:
    try:
        return cache.read_bytes()
    except OSError:
        return b""


def _use_cache(config: Any, cache: Path) -> None:
    """Timings of earlier builds, or none where they are damaged or of another GPU."""
    for known in (_read(cache), b""):
        timings = config.create_timing_cache(known)
        if timings is not None and config.set_timing_cache(timings, False):
            return


def _merge_cache(config: Any, cache: Path) -> None:
    """Add this build's timings to what other builds have written in the meantime."""
    cache.parent.mkdir(parents=True, exist_ok=True)
    with locked(cache.parent):
        mine = config.get_timing_cache()
        others = config.create_timing_cache(_read(cache))
        if others is not None:
            mine.combine(others, False)
        with atomically(cache) as file:
            file.write(bytes(mine.serialize()))
