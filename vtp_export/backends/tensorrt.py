"""TensorRT 10.3 to 11: a plan, built from the neutral ONNX on the machine that is to run it.

Written against the documented API of both majors. What builds a plan is shared with `tensorrt_rtx`, where NVIDIA's own
parser and builder are under test; what opens and runs one is exercised through a fake, and has not run on a GPU yet.
"""

import importlib.util
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vtp_export.backends import base
from vtp_export.backends._tensorrt_gate import why_unfit
from vtp_export.errors import ArtefactError, UnavailableError
from vtp_export.extras import install
from vtp_export.progress import Progress
from vtp_export.runtime import cuda
from vtp_export.runtime.brief import Brief
from vtp_export.runtime.session import Session
from vtp_export.runtime.versions import TENSORRT_PACKAGES
from vtp_export.settings import either, positive
from vtp_export.spec import Build, EngineRecord


@dataclass(frozen=True)
class PlanOptions(base.FormatOptions):
    """How a plan is built.

    workspace_gb: most device memory that one kernel may use for itself, in GB; None leaves it to TensorRT.
    """

    workspace_gb: float | None = positive(None, source="TensorRT decides")


@dataclass(frozen=True)
class RunOptions(base.FormatOptions):
    """How a plan is run.

    cuda_graphs: capture the work of each batch size at its second run, and launch the capture from then on; each batch
        size then takes the memory of a context of its own.
    """

    cuda_graphs: bool = either(False, source="this package")


def here() -> EngineRecord:
    """This machine, as a plan records it.

    Raises:
        UnavailableError: no GPU, no driver for it, or a TensorRT without its native libraries.
    """
    version, capability = _library().__version__, cuda.compute_capability()
    return EngineRecord(version, (capability,), f"{platform.system().lower()}-{platform.machine()}", cuda.device_name())


def _library() -> Any:
    """The module; its native libraries are loaded with it, and may be absent."""
    try:
        import tensorrt
    except (ImportError, OSError) as error:
        reason = " ".join(str(error).split())
        raise UnavailableError(
            f"tensorrt is installed and cannot be loaded ({reason}): its native libraries come from NVIDIA's package "
            "index, or on a Jetson with JetPack"
        ) from error
    return tensorrt


class Backend(base.Backend):
    """`model.smNN.plan`, and beside it `model.smNN.layers.json`, what TensorRT's inspector says of it."""

    devices = ("cuda",)
    rank = 10  # whoever built a plan for this very device wants it used
    source = "onnx"
    packages = TENSORRT_PACKAGES
    int8 = ("static",)
    Options = RunOptions
    BuildOptions = PlanOptions

    @property
    def main(self) -> str:
        """One file for each kind of GPU: `model.sm87.plan`."""
        return f"model.sm{cuda.compute_capability().replace('.', '')}.plan"

    def missing(self) -> str | None:
        """See `base.Backend`."""
        if importlib.util.find_spec("tensorrt") is None:
            return (
                f"tensorrt is not installed: {install('tensorrt')}, or on a Jetson use JetPack's own, "
                "from a virtual environment made with --system-site-packages"
            )
        return cuda.missing()

    def build(self, source: Path, brief: Brief, folder: Path, progress: Progress) -> Build:
        """From an ONNX file, for the GPU of this machine."""
        from vtp_export.backends._tensorrt_build import Network, inspected
        from vtp_export.backends._tensorrt_timings import cache_file, merge_timings, use_timings

        if reason := self.missing():
            raise UnavailableError(reason)
        options, engine, trt = brief.options or PlanOptions(), here(), _library()
        network = Network(trt, source)
        config, cache = network.config(brief), cache_file(engine.runtime)
        if options.workspace_gb is not None:
            config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, int(options.workspace_gb * 2**30))
        use_timings(config, cache)
        plan = network.plan(config, progress)
        try:
            merge_timings(config, cache)
        except (OSError, ArtefactError) as error:  # not worth a build that took ten minutes
            progress(f"timings of kernels are not kept: {error}", 0, 0)
        main = folder / self.main
        main.write_bytes(plan)
        report = main.with_suffix(".layers.json")
        report.write_text(inspected(trt, plan), encoding="utf-8")
        return self.built(folder, report.name, engine=engine)

    def unfit(self, build: Build) -> str | None:
        """Another version of TensorRT, another kind of GPU, another platform, or unknown which."""
        return why_unfit(build, "TensorRT", here())

    def open(
        self, folder: Path, build: Build, brief: Brief, device: str, threads: int | None, options: RunOptions
    ) -> Session:
        """Onto the GPU; threads have no meaning there."""
        from vtp_export.backends._tensorrt_run import TensorrtSession

        if reason := self.missing():
            raise UnavailableError(reason)
        return TensorrtSession(_library(), folder, build, brief, options.cuda_graphs)
