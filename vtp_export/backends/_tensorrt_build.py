"""From an ONNX file to a plan, with TensorRT or TensorRT for RTX, whose Python modules have the same names. No torch.

One code base for TensorRT 10.3 to 11 and TensorRT for RTX: networks are strongly typed (the precision is in the graph),
which 10 has to be asked for and the others do anyway.
"""

import functools
import json
from pathlib import Path
from typing import Any, NamedTuple

from vtp_export.errors import ExportError
from vtp_export.progress import Progress
from vtp_export.runtime.brief import Brief


class Refusal(NamedTuple):
    """A node that a parser does not take (both texts empty for the file as a whole), and its words."""

    node: str
    operator: str
    words: str


class Network:
    """An ONNX file as a parser has read it, weights beside it included.

    Args:
        trt: the Python module.
        onnx: the file.

    Attributes:
        refusals: what the parser does not take; none where the network is whole.
        layers: its layers with the types and shapes of what they return, as JSON.
    """

    def __init__(self, trt: Any, onnx: Path) -> None:
        self._trt, self._log = trt, logger(trt)
        self._builder = trt.Builder(self._log)
        flags = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)  # 1 in 10.3 and 0 in 11: never a number
        self._network = self._builder.create_network(flags)
        self._parser = trt.OnnxParser(self._network, self._log)  # holds weights that the network refers to
        self.refusals = () if self._parser.parse_from_file(str(onnx)) else self._refused()

    def _refused(self) -> tuple[Refusal, ...]:
        errors = [self._parser.get_error(i) for i in range(self._parser.num_errors)]
        told = tuple(Refusal(error.node_name(), error.node_operator(), _sentence(error.desc())) for error in errors)
        return told or (Refusal("", "", self._log.last() or "it gave no reason"),)

    def config(self, brief: Brief) -> Any:
        """An `IBuilderConfig` for it, in which more can be set.

        Args:
            brief: its batch becomes the optimisation profile, its identity the engine's name.

        Raises:
            ExportError: the parser has refused a node; relays its words.
        """
        if self.refusals:
            told = "; ".join(f"{node or 'the file'} ({op or '?'}): {words}" for node, op, words in self.refusals)
            raise ExportError(f"TensorRT's parser refuses {told}; 'vtp-export lint' may know the remedy")
        self._network.name = brief.identity  # the parser names it too; the metadata of the file do not come along
        config = self._builder.create_builder_config()
        # The erank branch needs float32 products, and TF32 rounds their inputs to ten bits.
        config.clear_flag(self._trt.BuilderFlag.TF32)
        config.profiling_verbosity = self._trt.ProfilingVerbosity.DETAILED
        profile = self._builder.create_optimization_profile()
        for spec in brief.inputs:
            sizes = (brief.batch.min, brief.batch.opt, brief.batch.max)
            shapes = (tuple(size if axis == "b" else axis for axis in spec.shape) for size in sizes)
            profile.set_shape(spec.name, *shapes)
        config.add_optimization_profile(profile)
        return config

    def plan(self, config: Any, progress: Progress) -> bytes:
        """Compile.

        Args:
            config: see there.
            progress: told of every phase.

        Raises:
            ExportError: no engine could be built; relays the words.
            BaseException: what `progress` raised, a KeyboardInterrupt among them; the build was stopped.
        """
        monitor = config.progress_monitor = _monitor(self._trt, progress)
        built = self._builder.build_serialized_network(self._network, config)
        if monitor.stopped_by is not None:
            raise monitor.stopped_by
        if built is None:
            raise ExportError(f"TensorRT could not build an engine: {self._log.last() or 'it gave no reason'}")
        return bytes(built)

    @property
    def layers(self) -> str:
        """See the class."""
        layers = (self._network.get_layer(i) for i in range(self._network.num_layers))
        return json.dumps({"Layers": [_described(layer) for layer in layers]}, separators=(",", ":"))


def _described(layer: Any) -> dict[str, Any]:
    made = (layer.get_output(i) for i in range(layer.num_outputs))
    outputs = [f"{tensor.dtype.name.lower()} {_shape(tensor)}" for tensor in made if tensor is not None]
    return {"Name": layer.name, "LayerType": layer.type.name, "Outputs": outputs}


def _shape(tensor: Any) -> list[int]:
    try:
        return list(tensor.shape)
    except ValueError:  # of which not even the rank is known
        return []


def inspected(trt: Any, plan: bytes) -> str:
    """Layers of an engine, their precisions and tactics, as the inspector tells them; needs the GPU.

    Raises:
        ExportError: the plan cannot be read.
    """
    log = logger(trt)
    engine = trt.Runtime(log).deserialize_cuda_engine(plan)
    if engine is None:
        raise ExportError(f"TensorRT does not read the plan that it just built: {log.last() or 'it gave no reason'}")
    text: str = engine.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON)
    return text


def logger(trt: Any) -> Any:
    """The process's logger, which keeps what went wrong from now on.

    There is one, because the library goes on using the first that it was given as long as anything of it lives.
    """
    log = _logger(trt)
    log.errors.clear()
    return log


@functools.cache
def _logger(trt: Any) -> Any:
    class Log(trt.ILogger):  # type: ignore[misc]
        """Remembers errors instead of printing them."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if int(severity) <= int(trt.ILogger.Severity.ERROR):
                self.errors.append(_sentence(message))

        def last(self) -> str:
            return self.errors[-1] if self.errors else ""

    return Log()


def _sentence(message: str) -> str:
    return " ".join(message.split())


def _monitor(trt: Any, progress: Progress) -> Any:
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
