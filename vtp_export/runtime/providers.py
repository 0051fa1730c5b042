"""ONNX Runtime's providers: which device runs the graph, and why one is not to be had.

ONNX Runtime falls back to the CPU without an error when a provider's library does not load, and names the provider as
available all the same. So nothing here believes it: the library's own dependencies are asked for first, and the session
that was made is asked what it runs where.

`session.disable_cpu_ep_fallback` would not do: with it a session is refused if one node stands on the CPU, and the CUDA
provider leaves `Shape` and what follows from it there on purpose. Matrix products are what must not be there.
"""

import contextlib
import ctypes
import hashlib
import importlib.util
import io
import os
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from vtp_export.errors import ArtefactError, UnavailableError, first_line
from vtp_export.extras import install
from vtp_export.runtime.libraries import needed, not_loadable
from vtp_export.runtime.versions import TENSORRT_PACKAGES, versions

NAMES = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}
"""ONNX Runtime's names of the providers that are used here."""

PACKAGES = ("onnxruntime", "onnxruntime-gpu")
PRODUCTS = ("MatMul", "Gemm", "Conv", "Attention", "Einsum")
"""Parts of the names of operators that a device was asked for."""

PRODUCT = (
    b'\x08\x08:@\n\x11\n\x01x\n\x01x\x12\x01y"\x06MatMul\x12\x01gZ\x13\n\x01x\x12\x0e\n\x0c\x08\x01\x12\x08\n\x02\x08\x01\n\x02'
    b"\x08\x01b\x13\n\x01y\x12\x0e\n\x0c\x08\x01\x12\x08\n\x02\x08\x01\n\x02\x08\x01B\x04\n\x00\x10\r"
)
"""An ONNX file: y = x @ x, of shape (1, 1), opset 13."""

FLOAT, BFLOAT16 = b"\n\x0c\x08\x01", b"\n\x0c\x08\x10"
"""How the type of a tensor begins in such a file."""


def library(provider: str) -> Path:
    """The file of a provider, whether it is there or not."""
    spec = importlib.util.find_spec("onnxruntime")
    folder = Path(spec.origin).parent if spec is not None and spec.origin else Path()
    return folder / "capi" / f"libonnxruntime_providers_{provider}.so"


def why_unavailable(provider: str) -> str | None:
    """Why ONNX Runtime, which is installed, cannot run on "cuda" or "tensorrt"; one sentence, or None."""
    import onnxruntime

    name = NAMES[provider]
    packages = versions(PACKAGES)
    if name not in onnxruntime.get_available_providers():
        if len(packages) > 1:
            return (
                f"onnxruntime and onnxruntime-gpu are both installed, and the first has overwritten {name}: "
                f"pip uninstall -y onnxruntime onnxruntime-gpu && {install('onnxruntime-gpu')}"
            )
        return (
            f"this onnxruntime ({onnxruntime.__version__}) is built without {name}: "
            f"pip uninstall -y onnxruntime && {install('onnxruntime-gpu')}"
        )
    path = library(provider)
    if not path.is_file():
        return None  # built in one piece
    _preload(onnxruntime, path)
    if absent := not_loadable(path):
        return f"{name} needs libraries that do not load here ({', '.join(absent)}): {_remedy(absent)}"
    return None


def _preload(onnxruntime: ModuleType, path: Path) -> None:
    """Load CUDA and TensorRT where they came as Python packages: the loader does not look there by itself."""
    if hasattr(onnxruntime, "preload_dlls"):
        with contextlib.redirect_stdout(io.StringIO()):  # what it prints is said better below
            onnxruntime.preload_dlls()
    package = importlib.util.find_spec("tensorrt_libs")
    for folder in package.submodule_search_locations or () if package is not None else ():
        for name in needed(path):
            with contextlib.suppress(OSError):
                if name.startswith("libnv"):
                    ctypes.CDLL(str(Path(folder, name)))


def _remedy(absent: dict[str, str]) -> str:
    if "libcuda.so.1" in absent:
        return "libcuda.so.1 comes with NVIDIA's driver, and there is none"
    inference = [name for name in absent if name.startswith("libnvinfer")]
    if not inference:
        return "pip install 'onnxruntime-gpu[cuda,cudnn]', or CUDA of that version"
    major = inference[0].rpartition(".")[2]
    present = [f"{package} {number}" for package, number in versions(TENSORRT_PACKAGES).items()]
    has = f"it is linked to TensorRT {major}" + (f" and {present[0]} is installed" if present else "")
    return f"{has}; install a TensorRT {major}, or use the format tensorrt"


def providers(provider: str, path: Path | None) -> list[Any]:
    """What `InferenceSession` takes for a provider, and for a model if engines are to be kept for it.

    TF32 is off: with its 10 bits of mantissa products of float32 numbers are no better than 1e-3, and effective rank,
    distances and what is kept would be another device's business. CUDA has an option for it. TensorRT's provider has
    none, only NVIDIA's environment variable, which must be set before the first of its libraries is loaded.
    """
    # No device_id: the first GPU is the default, and ONNX Runtime 1.31 prints a warning where it is named.
    cuda = (NAMES["cuda"], {"use_tf32": "0"})
    if provider == "cpu":
        return [NAMES["cpu"]]
    if provider == "cuda":
        return [cuda]
    os.environ["NVIDIA_TF32_OVERRIDE"] = "0"
    options = {"trt_fp16_enable": "0", "trt_int8_enable": "0"}  # precision is in the graph
    if path is not None:
        cache = str(_engine_cache(path))
        for what in ("engine", "timing"):
            options |= {f"trt_{what}_cache_enable": "1", f"trt_{what}_cache_path": cache}
    return [(NAMES["tensorrt"], options), cuda]


def _engine_cache(path: Path) -> Path:
    """A folder of this very model: ONNX Runtime names engines after the graph, and not after its weights."""
    digest = hashlib.sha256()
    for part in sorted(path.parent.glob(f"{path.name}*")):
        with part.open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = home / "vtp-export" / "onnxruntime-tensorrt" / digest.hexdigest()[:16]
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # engines are native code
    except OSError as error:
        raise ArtefactError(f"the folder for TensorRT's engines '{folder}' cannot be made: {error.strerror}") from error
    return folder


def try_out(provider: str) -> str | None:
    """Why a product of two numbers does not run on a provider; None if it does. ONNX Runtime is installed."""
    if reason := None if provider == "cpu" else why_unavailable(provider):
        return reason
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 4
    settings.intra_op_num_threads = 1
    settings.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    try:
        session = onnxruntime.InferenceSession(
            PRODUCT, settings, providers=providers(provider, None), enable_fallback=0
        )
        check(session, provider)
        session.run(None, {"x": np.ones((1, 1), np.float32)})
    except Exception as error:  # see `backends/onnx.py`
        return first_line(error)
    return None


def multiplies_bfloat16() -> bool:
    """Whether ONNX Runtime, which is installed, has products in bfloat16 on the CPU."""
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 4
    settings.intra_op_num_threads = 1
    try:
        onnxruntime.InferenceSession(PRODUCT.replace(FLOAT, BFLOAT16), settings, providers=[NAMES["cpu"]])
    except Exception:  # see `backends/onnx.py`
        return False
    return True


def placement(session: Any) -> dict[str, Counter[str]] | None:
    """Operators by the provider that runs them, counted; None where this ONNX Runtime does not tell."""
    if not hasattr(session, "get_provider_graph_assignment_info"):
        return None
    counted: dict[str, Counter[str]] = {}
    for subgraph in session.get_provider_graph_assignment_info():
        counted.setdefault(subgraph.ep_name, Counter()).update(node.op_type for node in subgraph.get_nodes())
    return counted


def check(session: Any, provider: str) -> tuple[str, ...]:
    """See that a session runs where it was asked to.

    Returns:
        A sentence on what runs on the CPU all the same, if anything does.

    Raises:
        UnavailableError: it runs elsewhere.
    """
    name = NAMES[provider]
    if session.get_providers()[0] != name:
        raise UnavailableError(
            f"ONNX Runtime did not take {name} and fell back to {session.get_providers()[0]}; what it printed says why"
        )
    counted = placement(session)
    if provider == "cpu" or counted is None:
        return ()
    here, total = counted.get(name, Counter()).total(), sum(nodes.total() for nodes in counted.values())
    strayed = counted.get(NAMES["cpu"], Counter())
    products = {op: n for op, n in strayed.items() if any(part in op for part in PRODUCTS)}
    if products or not here:
        told = _told(products) if products else f"all {total} nodes"
        raise UnavailableError(f"{name} leaves {told} to the CPU; choose the device cpu, or another format")
    if not strayed:
        return ()
    return (f"{name} runs {here} of {total} nodes; on the CPU: {_told(strayed)}",)


def _told(nodes: dict[str, int] | Counter[str]) -> str:
    return ", ".join(f"{count} {op}" for op, count in sorted(nodes.items(), key=lambda item: -item[1]))
