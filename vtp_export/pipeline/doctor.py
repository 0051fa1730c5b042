"""`vtp-export doctor`: what this machine can run, and why not the rest."""

import ctypes
import importlib.util
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from vtp_export import rooms
from vtp_export.extras import install
from vtp_export.pipeline.inspect import inspect
from vtp_export.reports.artefact import Inspection
from vtp_export.reports.machine import Diagnosis, Finding
from vtp_export.runtime import machine, providers
from vtp_export.runtime.artefact import Artefact
from vtp_export.runtime.checks import checked
from vtp_export.runtime.formats import usual_way
from vtp_export.runtime.hub import located
from vtp_export.runtime.libraries import needed, why_not_loadable
from vtp_export.runtime.machine import Sources
from vtp_export.runtime.versions import TENSORRT_PACKAGES

ROOM_BYTES = 2e9
RUNS = "runs"
TOOLS = ("torch", "transformers", "onnx", "onnxscript")


def doctor(folder: str | Path | None = None, sources: Sources | None = None) -> Diagnosis:
    """Look around. A probe that fails says so and stops nothing.

    Args:
        folder: an artefact, to hear which of its formats can be opened here.
        sources: of another machine's texts; this one's by default.

    Raises:
        ArtefactError: the folder is no artefact, or is damaged.
    """
    folder = None if folder is None else located(folder)
    told = None if folder is None else inspect(folder)
    asked = sources or Sources()
    findings: list[Finding] = []
    for what, probe in (
        ("board", board),
        ("CPU", cpu),
        ("memory", lambda s: memory(s, told)),
        ("disk", lambda s: disk(Path(folder or "."))),
        ("GPU", gpu),
        ("NVIDIA driver", driver),
        ("CUDA libraries", libraries),
        ("TensorRT", tensorrt),
        ("TensorRT for RTX", tensorrt_rtx),
        ("ONNX Runtime", onnxruntime),
        ("OpenVINO", openvino),
        ("ExecuTorch", executorch),
        ("torch", tools),
    ):
        findings += _asked(what, probe, asked)
    able = {finding.what for finding in findings if finding.verdict == RUNS}
    if told is None:
        return Diagnosis(tuple(findings), None, {}, bool(able))
    openable = [fmt for fmt, reason in told.obstacles.items() if reason is None]
    artefact = Artefact(told.folder, told.manifest)
    last = {fmt: checked(usual_way(artefact, fmt)) for fmt in openable}
    return Diagnosis(tuple(findings), told.obstacles, last, bool(openable))


def _asked(what: str, probe: Callable[[Sources], Iterable[Finding]], sources: Sources) -> list[Finding]:
    try:
        return list(probe(sources))
    except Exception as error:  # a probe meets broken installations: that is what it is for
        told = str(error).strip().splitlines() or [type(error).__name__]
        return [Finding(what, None, f"could not be found out: {told[0]}")]


def board(sources: Sources) -> Iterable[Finding]:
    """A Jetson's board and JetPack, and what of it is not used; nothing on other machines."""
    text = machine.board(sources.text("proc/device-tree/model"), sources.text("etc/nv_tegra_release"))
    idle = "fp8 and fp4 are not supported: plans are in fp32, fp16, bf16 or int8"
    if text is not None and "thor" not in text.lower():
        idle = "its DLA is not supported: plans are for the GPU"
    return [] if text is None else [Finding("board", text, idle)]


def cpu(sources: Sources) -> Iterable[Finding]:
    """The CPU's model and cores."""
    text = machine.processor(sources.text("proc/cpuinfo"), sources.architecture, sources.cores)
    return [Finding("CPU", text, "" if sources.architecture in ("x86_64", "aarch64") else "not tested on this one")]


def memory(sources: Sources, artefact: Inspection | None) -> Iterable[Finding]:
    """Memory, and whether it is little for the artefact's weights."""
    found = machine.memory_bytes(sources.text("proc/meminfo"))
    if found is None:
        return [Finding("memory", None, "/proc/meminfo does not tell")]
    weights = 0 if artefact is None else artefact.manifest.model.weights_bytes
    verdict = "" if found[1] > 2 * weights else f"little for weights of {weights / 1e9:.1f} GB: close other programs"
    return [Finding("memory", f"{found[1] / 1e9:.1f} of {found[0] / 1e9:.1f} GB available", verdict)]


def disk(folder: Path) -> Iterable[Finding]:
    """Room where the artefact, or the user, is."""
    free = shutil.disk_usage(folder).free
    verdict = "" if free > ROOM_BYTES else "little for an export or an engine of a full-size model"
    return [Finding("disk", f"{free / 1e9:.1f} GB free at {folder.resolve()}", verdict)]


def gpu(sources: Sources) -> Iterable[Finding]:
    """GPUs with their compute capability."""
    found = _gpus(sources)
    for one in found:
        parts = [one.name, f"compute capability {one.compute_capability or 'unknown'}", one.memory]
        yield Finding("GPU", ", ".join(part for part in parts if part), "")
    if not found:
        yield Finding("GPU", None, "no NVIDIA GPU is seen; formats run on the CPU")


def _gpus(sources: Sources) -> list[machine.Gpu]:
    query = ("nvidia-smi", "--query-gpu=name,compute_cap,memory.total", "--format=csv,noheader")
    return machine.gpus(sources.run(*query), sources.text("proc/device-tree/model"))


def driver(sources: Sources) -> Iterable[Finding]:
    """NVIDIA's driver, which is part of the system on a Jetson."""
    version = machine.driver(sources.text("proc/driver/nvidia/version"))
    if version is None and sources.text("etc/nv_tegra_release"):
        version = "part of L4T"
    verdict = "" if version else "needed for cuda and tensorrt: install it, if there is a GPU"
    return [Finding("NVIDIA driver", version, verdict)]


def libraries(sources: Sources) -> Iterable[Finding]:
    """CUDA's libraries that the loader knows; Python packages bring theirs along and are not in this list."""
    found = [name for name in machine.libraries(sources.run("ldconfig", "-p")) if not name.startswith("libnv")]
    return [Finding("CUDA libraries", ", ".join(found) or None, "" if found else "none in the loader's list")]


def tensorrt(sources: Sources) -> Iterable[Finding]:
    """TensorRT's Python package, and its library with the version that it says of itself."""
    packages = [f"{name} {version}" for name in TENSORRT_PACKAGES if (version := sources.package(name))]
    lacking = f"for the format tensorrt: {install('tensorrt')}; on a Jetson it comes with JetPack"
    yield Finding("TensorRT for Python", ", ".join(packages) or None, "" if packages else lacking)
    names = [name for name in machine.libraries(sources.run("ldconfig", "-p")) if name.startswith("libnvinfer.")]
    for name in [*names, *_in_a_package()]:
        if reason := why_not_loadable(name):
            yield Finding("TensorRT's library", name, f"does not load: {reason}")
        else:
            version = machine.inference_version(ctypes.CDLL(name).getInferLibVersion())
            lacking = "no Python package beside it" if not packages else "" if _gpus(sources) else "no GPU to run on"
            yield Finding("TensorRT's library", f"{name}, {version}", lacking or RUNS)
    if not names and not _in_a_package():
        yield Finding("TensorRT's library", None, "no libnvinfer in the loader's list")


def _in_a_package() -> list[str]:
    """TensorRT's library where it came with pip: the loader does not list it."""
    spec = importlib.util.find_spec("tensorrt_libs")
    folders = [] if spec is None else spec.submodule_search_locations or []
    return [str(path) for folder in folders for path in sorted(Path(folder).glob("libnvinfer.so.*"))]


def tensorrt_rtx(sources: Sources) -> Iterable[Finding]:
    """TensorRT for RTX, which builds plans without a GPU and runs them on some."""
    backend = rooms.load("backends", "tensorrt_rtx")
    number = sources.package(backend.PACKAGES[1])
    if number is None:
        yield Finding("TensorRT for RTX", None, f"for the format tensorrt_rtx: {install(backend.EXTRA)}")
        return
    backend.library()  # says what is wrong with it
    able = any(one.compute_capability in backend.CAPABILITIES.values() for one in _gpus(sources))
    lacking = backend.Backend().missing() if able else "no GPU here that it runs them on"
    yield Finding("TensorRT for RTX", number, f"builds plans; {lacking}" if lacking else RUNS)


def onnxruntime(sources: Sources) -> Iterable[Finding]:
    """The package, or both, which is one too many; and for each provider whether it really runs."""
    packages = {name: version for name in providers.PACKAGES if (version := sources.package(name))}
    text = ", ".join(f"{name} {version}" for name, version in packages.items())
    conflict = "each overwrites the other: pip uninstall -y onnxruntime onnxruntime-gpu, then install one"
    yield Finding("ONNX Runtime", text or None, conflict if len(packages) > 1 else "")
    if not _importable("onnxruntime"):
        yield Finding("ONNX Runtime on cpu", None, f"for the format onnx: {install('onnxruntime')}")
        return
    for provider in providers.NAMES:
        built = providers.NAMES[provider] in _available()
        verdict = providers.try_out(provider) or RUNS
        yield Finding(f"ONNX Runtime on {provider}", _linked(provider) if built else None, verdict)


def openvino(sources: Sources) -> Iterable[Finding]:
    """The package, the devices that it sees, and whether they have float32."""
    number = sources.package("openvino")
    if not _importable("openvino"):
        yield Finding("OpenVINO", number, f"for the format openvino: {install('openvino')}")
        return
    import openvino as library

    core = library.Core()
    for device in core.available_devices:
        wide = "FP32" in core.get_property(device, "OPTIMIZATION_CAPABILITIES")
        text = f"openvino {number}, {core.get_property(device, 'FULL_DEVICE_NAME')}"
        yield Finding(f"OpenVINO on {device.lower()}", text, RUNS if wide else "has no float32: other tokens are kept")


def executorch(sources: Sources) -> Iterable[Finding]:
    """The package; it is not imported, which would load torch."""
    number = sources.package("executorch")
    yield Finding("ExecuTorch", number, f"for the format executorch: {install('executorch')}" if number is None else "")


def _linked(provider: str) -> str:
    path = providers.library(provider)
    names = needed(path) if path.is_file() else ()
    told = [name for name in names if name.startswith(("libnvinfer.", "libcudart."))]
    return "built in" + (f", linked to {', '.join(told)}" if told else "")


def _importable(module: str) -> bool:
    try:
        __import__(module)
    except ImportError:
        return False
    return True


def _available() -> list[str]:
    import onnxruntime

    return list(onnxruntime.get_available_providers())


def tools(sources: Sources) -> Iterable[Finding]:
    """What exports and validates; torch is not imported."""
    found = {name: sources.package(name) for name in TOOLS}
    text = ", ".join(f"{name} {version}" for name, version in found.items() if version)
    lacking = [name for name, version in found.items() if version is None]
    verdict = f"no {', '.join(lacking)}: for export and validate, {install('export')}" if lacking else RUNS
    return [Finding("to export", text or None, verdict)]
