"""TensorRT for RTX 1.7: a plan for several kinds of GPU at once, built from the neutral ONNX on a machine without any.

For desktops, laptops and workstations with an RTX GPU, and DGX Spark. NVIDIA's parser and builder are under test; what
opens and runs a plan is shared with `tensorrt`, exercised through a fake, and has not run on a GPU yet.
"""

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vtp_export.backends import base
from vtp_export.backends._tensorrt_gate import why_unfit
from vtp_export.errors import UnavailableError
from vtp_export.extras import install
from vtp_export.progress import Progress
from vtp_export.runtime import cuda
from vtp_export.runtime.brief import Brief
from vtp_export.runtime.session import Session
from vtp_export.runtime.versions import is_older, versions
from vtp_export.settings import setting
from vtp_export.spec import Build, EngineRecord

NAME, EXTRA = "TensorRT for RTX", "tensorrt-rtx"
MODULE = "tensorrt_rtx_bindings"
OLDEST = "1.7"
PACKAGES = ("tensorrt-rtx-cu13-bindings", "tensorrt-rtx-cu13-libs")
"""Of one release both, or the first calls what the second does not have."""

CAPABILITIES = {"sm75": "7.5", "sm80": "8.0", "sm86": "8.6", "sm89": "8.9", "sm120": "12.0", "sm121": "12.1"}
"""What it builds for: Turing, Ampere (two), Ada Lovelace, Blackwell, GB10."""


def _targets(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(","))


@dataclass(frozen=True)
class PlanOptions(base.FormatOptions):
    """How a plan is built.

    target: kinds of GPU that the one plan is for, by compute capability and with commas between them. A plan for
        several is no larger. sm75 has no float32 products: it takes the unpruned front end in fp16 and little else.
    """

    target: str = setting(
        "sm80,sm86,sm89,sm120,sm121",
        f"of {', '.join(CAPABILITIES)}, with commas between them",
        lambda value: {*_targets(value)} <= {*CAPABILITIES},
        source="all but sm75",
    )


def library() -> Any:
    """The Python module, with its native libraries.

    Raises:
        UnavailableError: it is not installed, too old, in two releases at once, or cannot be loaded.
    """
    if reason := _not_installed():
        raise UnavailableError(reason)
    found = versions(PACKAGES)
    if len({*found.values()}) > 1:
        both = " and ".join(f"{package} {number}" for package, number in found.items())
        raise UnavailableError(f"{both} are not of one release: {install(EXTRA)}")
    try:
        module = importlib.import_module(MODULE)
    except (ImportError, OSError) as error:
        reason = " ".join(str(error).split())
        raise UnavailableError(f"{MODULE} cannot be loaded ({reason}): {install(EXTRA)}") from error
    if is_older(module.__version__, OLDEST):
        raise UnavailableError(f"{NAME} {module.__version__} is too old; {OLDEST} or newer: {install(EXTRA)}")
    return module


def _not_installed() -> str | None:
    if importlib.util.find_spec(MODULE) is None:
        return f"{NAME} is not installed: {install(EXTRA)}"
    return None


def refusals(onnx: Path) -> tuple[tuple[str, str, str], ...]:
    """Node, operator and words, for all that NVIDIA's parser does not take of a file; both empty for the file itself.

    Raises:
        UnavailableError: as `library`.
    """
    from vtp_export.backends._tensorrt_judge import refusals

    return refusals(onnx)


class Backend(base.Backend):
    """`model.rtx.plan`, and beside it `model.rtx.layers.json`, the layers of the network with their types.

    An engine's own report takes a GPU, which chooses the kernels when it first runs the plan.
    """

    devices = ("cuda",)
    rank = 12
    source = "onnx"
    main = "model.rtx.plan"
    packages = PACKAGES
    int8 = ("static",)
    packages = PACKAGES
    BuildOptions = PlanOptions

    def missing(self) -> str | None:
        """See `base.Backend`."""
        return self.missing_to_build() or cuda.missing(EXTRA)

    def missing_to_build(self) -> str | None:
        """No more than the package."""
        return _not_installed()

    def build(self, source: Path, brief: Brief, folder: Path, progress: Progress) -> Build:
        """From an ONNX file, for the GPUs that were asked for; none has to be here."""
        from vtp_export.backends._tensorrt_build import Network

        trt, options = library(), brief.options or PlanOptions()
        targets = [target for target in CAPABILITIES if target in _targets(options.target)]
        network = Network(trt, source)
        config = network.config(brief)
        config.num_compute_capabilities = len(targets)
        for place, target in enumerate(targets):
            config.set_compute_capability(getattr(trt.ComputeCapability, target.upper()), place)
        (folder / self.main).write_bytes(network.plan(config, progress))
        report = (folder / self.main).with_suffix(".layers.json")
        report.write_text(network.layers, encoding="utf-8")
        capabilities = tuple(CAPABILITIES[target] for target in targets)
        return self.built(folder, report.name, engine=EngineRecord(trt.__version__, capabilities, None, None))

    def unfit(self, build: Build) -> str | None:
        """Another version, a GPU that the plan is not for, or unknown which.

        Raises:
            UnavailableError: no GPU, no driver for it, or one that TensorRT for RTX does not run on.
        """
        version, capability, name = library().__version__, cuda.compute_capability(), cuda.device_name()
        if capability not in CAPABILITIES.values():
            known = ", ".join(CAPABILITIES.values())
            raise UnavailableError(f"{NAME} runs on GPUs of compute capability {known}; {name} has {capability}")
        return why_unfit(build, NAME, EngineRecord(version, (capability,), None, name))

    def open(
        self, folder: Path, build: Build, brief: Brief, device: str, threads: int | None, options: base.FormatOptions
    ) -> Session:
        """Onto the GPU; threads have no meaning there."""
        from vtp_export.backends._tensorrt_run import TensorrtSession

        if reason := self.missing():
            raise UnavailableError(reason)
        return TensorrtSession(library(), folder, build, brief)
