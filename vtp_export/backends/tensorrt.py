"""TensorRT 10.3 to 11: a plan, built from the neutral ONNX on the machine that is to run it.

Written against the documented API of both majors and exercised through a fake of it. TensorRT for RTX 1.7 has built
plans through it; no plan has been run yet.
"""

import importlib.util
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vtp_export.backends import base
from vtp_export.errors import UnavailableError
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
    trt = _library()
    capability, name = cuda.compute_capability(), cuda.device_name()
    return EngineRecord(trt.__version__, capability, f"{platform.system().lower()}-{platform.machine()}", name)


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
    loops = False
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
        from vtp_export.backends._tensorrt_build import build_plan

        if reason := self.missing():
            raise UnavailableError(reason)
        options, engine = brief.options or PlanOptions(), here()
        plan, layers = build_plan(source, brief, options.workspace_gb, progress)
        main = folder / self.main
        main.write_bytes(plan)
        report = main.with_suffix(".layers.json")
        report.write_text(layers, encoding="utf-8")
        return self.built(folder, report.name, engine=engine)

    def unfit(self, build: Build) -> str | None:
        """Another version of TensorRT, another kind of GPU, another platform, or unknown which."""
        made, mine = build.engine, here()
        if made is None:
            return "the manifest does not say what it was built on"
        if made.runtime != mine.runtime:
            return f"it was built by TensorRT {made.runtime}, and here is {mine.runtime}"
        if made.compute_capability != mine.compute_capability:
            capability = f"compute capability {made.compute_capability} ({made.device})"
            return f"it was built for {capability}, and here is {mine.compute_capability} ({mine.device})"
        if made.platform != mine.platform:
            return f"it was built on {made.platform}, and here is {mine.platform}"
        return None

    def open(
        self, folder: Path, build: Build, brief: Brief, device: str, threads: int | None, options: RunOptions
    ) -> Session:
        """Onto the GPU; threads have no meaning there."""
        from vtp_export.backends._tensorrt_run import TensorrtSession

        if reason := self.missing():
            raise UnavailableError(reason)
        _library()
        return TensorrtSession(folder, build, brief, options.cuda_graphs)
