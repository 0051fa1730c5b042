"""TensorRT 10.3 to 11: a plan, built from the neutral ONNX on the machine that is to run it.

Written against the documented API of both majors and exercised through a fake of it; it has not run on TensorRT yet.
"""

import importlib.util
import platform
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vtp_export.backends import base
from vtp_export.errors import ArtefactError, UnavailableError
from vtp_export.runtime import cuda
from vtp_export.runtime.artefact import Artefact
from vtp_export.runtime.session import OpenOptions, Session
from vtp_export.spec import EngineRecord

if TYPE_CHECKING:
    from torch import nn

    from vtp_export.backends._tensorrt_build import BuildOptions


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


def plan_name(record: EngineRecord) -> str:
    """One file for each kind of GPU: `model.sm87.plan`."""
    return f"model.sm{(record.compute_capability or '').replace('.', '')}.plan"


def why_not(record: EngineRecord, mine: EngineRecord) -> str | None:
    """What keeps a plan from running on this machine, or None: checked before TensorRT sees a byte of it."""
    if record.runtime != mine.runtime:
        return f"it was built by TensorRT {record.runtime}, and here is {mine.runtime}"
    if record.compute_capability != mine.compute_capability:
        built, found = record.compute_capability, mine.compute_capability
        return f"it was built for compute capability {built} ({record.device}), and here is {found} ({mine.device})"
    if record.platform != mine.platform:
        return f"it was built on {record.platform}, and here is {mine.platform}"
    return None


class Backend(base.Backend):
    """`model.smNN.plan`, and beside it `model.smNN.layers.json`, what TensorRT's inspector says of it."""

    loop_free, usual = True, "tensorrt"
    int8 = ("static",)
    providers = ("tensorrt",)

    def missing(self) -> str | None:
        """See `base.Backend`."""
        if importlib.util.find_spec("tensorrt") is None:
            return (
                "tensorrt is not installed: pip install 'vtp-export[tensorrt]', or on a Jetson use JetPack's own, "
                "from a virtual environment made with --system-site-packages"
            )
        return cuda.missing()

    def build(self, graph: "nn.Module", plan: base.Plan, folder: Path) -> list[Path]:
        """By way of a neutral ONNX file that is not kept."""
        from vtp_export.backends import onnx

        if reason := self.missing():
            raise UnavailableError(reason)
        with tempfile.TemporaryDirectory(dir=folder) as place:
            file = onnx.Backend().build(graph, plan, Path(place))[0]
            return self.build_from(file, plan, folder)

    def build_from(
        self, onnx: Path, plan: base.Plan, folder: Path, options: "BuildOptions | None" = None
    ) -> list[Path]:
        """From an ONNX file; needs no torch.

        Raises:
            ExportError: the parser refuses a node, or no engine could be built.
            UnavailableError: no GPU.
        """
        from vtp_export.backends._tensorrt_build import BuildOptions, build_plan

        main = folder / plan_name(here())
        built, layers = build_plan(onnx, plan, options or BuildOptions())
        main.write_bytes(built)
        report = main.with_suffix(".layers.json")
        report.write_text(layers, encoding="utf-8")
        return [main, report]

    def engines(self, files: Sequence[Path]) -> dict[str, EngineRecord]:
        """See `base.Backend`."""
        return {file.name: here() for file in files if file.suffix == ".plan"}

    def file(self, artefact: Artefact, fmt: str) -> Path:
        """The plan for this GPU."""
        mine, again = here(), f"build it here: vtp-export plan {artefact.folder}"
        records = artefact.manifest.engines
        plans = [name for name in sorted(artefact.manifest.files) if name.endswith(".plan")]
        reasons = []
        for name in plans:
            if name not in records:
                raise ArtefactError(f"the manifest does not say what {name} was built on; {again}")
            reason = why_not(records[name], mine)
            if reason is None:
                return artefact.folder / name
            reasons.append(f"{name}: {reason}")
        raise ArtefactError(f"no plan of '{artefact.folder}' is for this machine ({'; '.join(reasons)}); {again}")

    def open(self, path: Path, outputs: tuple[str, ...], options: OpenOptions) -> Session:
        """Onto the GPU; threads have no meaning there."""
        from vtp_export.backends._tensorrt_run import TensorrtSession

        if options.provider in ("cpu", "cuda"):
            raise UnavailableError(f"a TensorRT plan runs on TensorRT, not on {options.provider}; use the format onnx")
        if reason := self.missing():
            raise UnavailableError(reason)
        _library()
        return TensorrtSession(path, outputs, options.cuda_graphs)
