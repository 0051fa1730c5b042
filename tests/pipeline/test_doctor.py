"""The doctor on machines that are not at hand, on this one, and where everything is broken."""

import contextlib
import json
import sys
import types

import pytest

from vtp_export.backends.onnx import Backend
from vtp_export.cli import main
from vtp_export.errors import ArtefactError, UnavailableError
from vtp_export.pipeline import doctor as room
from vtp_export.pipeline.doctor import doctor
from vtp_export.pipeline.export import export
from vtp_export.pipeline.inspect import inspect
from vtp_export.pipeline.validate import validate
from vtp_export.runtime import providers
from vtp_export.runtime.front_end import load
from vtp_export.runtime.machine import Sources

ORIN = "NVIDIA Jetson AGX Orin Developer Kit\0"
RELEASE = "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64"
MEMORY = "MemTotal: 65000000 kB\nMemAvailable: 50000000 kB\n"


def sources(tmp_path, files=(), outputs=(), packages=(), architecture="x86_64"):
    """A machine with these files, outputs of programs by their first word, and packages; constructed."""
    for name, text in dict(files).items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    told, installed = dict(outputs), dict(packages)
    return Sources(
        root=tmp_path,
        run=lambda *command: told.get(command[0], ""),
        package=installed.get,
        architecture=architecture,
        cores=12,
    )


def rows(diagnosis):
    found = {}
    for finding in diagnosis.findings:
        found.setdefault(finding.what, []).append((finding.found, finding.verdict))
    return found


@pytest.fixture
def no_runtime(monkeypatch):
    monkeypatch.setattr(room, "_importable", lambda module: False)


@pytest.fixture
def tensorrt_library(monkeypatch):
    """libnvinfer loads, whatever its name, and says that it is 10.3.0."""
    monkeypatch.setattr(room, "why_not_loadable", lambda name: None)
    monkeypatch.setattr(room.ctypes, "CDLL", lambda name: types.SimpleNamespace(getInferLibVersion=lambda: 100300))


def test_a_jetson(tmp_path, no_runtime, tensorrt_library):
    files = {"proc/device-tree/model": ORIN, "etc/nv_tegra_release": RELEASE, "proc/meminfo": MEMORY}
    cache = "\tlibnvinfer.so.10 (libc6,AArch64) => /lib/x\n\tlibcudart.so.12 (libc6,AArch64) => /lib/y\n"
    result = doctor(None, sources(tmp_path, files, {"ldconfig": cache}, {"tensorrt": "10.3.0"}, "aarch64"))
    found = rows(result)
    idle = "its DLA is not supported: plans are for the GPU"
    assert found["board"] == [("NVIDIA Jetson AGX Orin Developer Kit, L4T 36.4.3 (JetPack 6)", idle)]
    assert found["GPU"] == [("NVIDIA Jetson AGX Orin Developer Kit, compute capability 8.7, shared with the CPU", "")]
    assert found["NVIDIA driver"] == [("part of L4T", "")]
    assert found["CUDA libraries"] == [("libcudart.so.12", "")]
    assert found["TensorRT for Python"] == [("tensorrt 10.3.0", "")]
    assert found["TensorRT's library"] == [("libnvinfer.so.10, 10.3.0", "runs")]
    assert found["memory"] == [("51.2 of 66.6 GB available", "")]
    assert "pip install 'onnxruntime>=" in found["ONNX Runtime on cpu"][0][1]
    assert result.able


def test_a_thor_is_told_what_it_has_in_vain(tmp_path, no_runtime):
    files = {"proc/device-tree/model": "NVIDIA Jetson AGX Thor Developer Kit\0"}
    ((found, verdict),) = rows(doctor(None, sources(tmp_path, files)))["board"]
    assert found == "NVIDIA Jetson AGX Thor Developer Kit"
    assert verdict == "fp8 and fp4 are not supported: plans are in fp32, fp16, bf16 or int8"


def test_a_server(tmp_path, no_runtime):
    version = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.65.06  Sun"
    table = "NVIDIA H100 80GB HBM3, 9.0, 81559 MiB\nNVIDIA H100 80GB HBM3, 9.0, 81559 MiB\n"
    result = doctor(None, sources(tmp_path, {"proc/driver/nvidia/version": version}, {"nvidia-smi": table}))
    found = rows(result)
    assert found["GPU"] == [("NVIDIA H100 80GB HBM3, compute capability 9.0, 81559 MiB", "")] * 2
    assert found["NVIDIA driver"] == [("580.65.06", "")]
    assert "board" not in found


def test_a_machine_with_nothing(tmp_path, no_runtime):
    result = doctor(None, sources(tmp_path))
    found = rows(result)
    assert not result.able
    assert found["GPU"][0][0] is found["TensorRT for Python"][0][0] is found["ONNX Runtime"][0][0] is None
    assert found["memory"] == [(None, "/proc/meminfo does not tell")]
    assert "pip install 'huggingface-hub>=" in found["to export"][0][1]


def test_a_library_without_a_package_or_a_gpu_runs_nothing(tmp_path, no_runtime, tensorrt_library):
    cache = {"ldconfig": "\tlibnvinfer.so.10 (libc6) => /lib/x\n"}
    bare = rows(doctor(None, sources(tmp_path, (), cache)))
    assert bare["TensorRT's library"] == [("libnvinfer.so.10, 10.3.0", "no Python package beside it")]
    blind = doctor(None, sources(tmp_path, (), cache, {"tensorrt": "10.3.0"}))
    assert rows(blind)["TensorRT's library"] == [("libnvinfer.so.10, 10.3.0", "no GPU to run on")]
    assert not blind.able


def test_two_runtimes_in_one_place(tmp_path, no_runtime):
    both = {"onnxruntime": "1.32.0", "onnxruntime-gpu": "1.31.1"}
    text, verdict = rows(doctor(None, sources(tmp_path, packages=both)))["ONNX Runtime"][0]
    assert text == "onnxruntime 1.32.0, onnxruntime-gpu 1.31.1"
    assert "pip uninstall -y onnxruntime onnxruntime-gpu" in verdict


def test_what_a_provider_is_linked_to(tmp_path, shared_library, monkeypatch):
    """As onnxruntime-gpu 1.31.1 is, on a machine without a GPU."""
    import onnxruntime

    path = shared_library("p.so", "libcublas.so.13", "libnvinfer.so.10", "libcudart.so.13", "libc.so.6")
    monkeypatch.setattr(providers, "library", lambda provider: path if provider == "tensorrt" else tmp_path / "none")
    available = ["TensorrtExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: available)
    found = rows(doctor(None, sources(tmp_path, packages={"onnxruntime-gpu": "1.31.1"})))
    text, verdict = found["ONNX Runtime on tensorrt"][0]
    assert text == "built in, linked to libnvinfer.so.10, libcudart.so.13"
    assert "linked to TensorRT 10" in verdict
    assert found["ONNX Runtime on cpu"] == [("built in", "runs")]
    assert found["ONNX Runtime on cuda"][0][0] is None


def test_a_probe_that_fails_says_so(tmp_path, no_runtime, monkeypatch):
    def broken(*command):
        raise RuntimeError("out of order\nand more")

    asked = sources(tmp_path, {"proc/meminfo": MEMORY})
    result = doctor(None, Sources(root=asked.root, run=broken, package=asked.package, architecture="x86_64", cores=1))
    found = rows(result)
    assert found["GPU"] == [(None, "could not be found out: out of order")]
    assert found["memory"][0][0] == "51.2 of 66.6 GB available"


def test_a_product_is_really_computed(monkeypatch):
    assert providers.try_out("cpu") is None
    monkeypatch.setattr(providers, "PRODUCT", b"no model")
    assert "Failed to load model" in providers.try_out("cpu")


def vtp(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["vtp-export", *map(str, arguments)])
    with pytest.raises(SystemExit) as left:
        main()
    return left.value.code or 0, *capsys.readouterr()


def test_this_machine_with_an_artefact(artefact, monkeypatch, capsys):
    code, out, _ = vtp(monkeypatch, capsys, "doctor", artefact, "--json")
    told = json.loads(out)
    assert code == 0
    assert told["able"]
    assert told["formats"] == {"onnx": None, "torchscript": None}
    assert {"what": "ONNX Runtime on cpu", "found": "built in", "verdict": "runs"} in told["findings"]
    code, out, _ = vtp(monkeypatch, capsys, "doctor", artefact)
    assert code == 0
    assert "opens here" in out


def test_an_artefact_of_which_nothing_opens(artefact, monkeypatch, capsys):
    import importlib.util

    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name in ("onnxruntime", "torch") else found(name)
    )
    code, out, _ = vtp(monkeypatch, capsys, "doctor", artefact, "--json")
    assert code == 1
    assert all("is not installed" in reason for reason in json.loads(out)["formats"].values())


def test_a_folder_that_is_no_artefact(tmp_path, monkeypatch, capsys):
    code, _, err = vtp(monkeypatch, capsys, "doctor", tmp_path)
    assert code == 2
    assert "is not an artefact" in err


@pytest.mark.whole
def test_what_a_precision_runs_on_is_known_before_a_file_is_opened(small_llava, tmp_path, monkeypatch):
    """As ONNX Runtime itself says when the file is given to it."""
    folder = tmp_path / "narrow"
    report = export(small_llava, folder, keep=8, precision="bf16", formats=("onnx", "torchscript"), golden=2)
    told = doctor(folder).formats
    assert told["torchscript"] is None
    assert [note for note in report.notes if "bf16" in note] == ([told["onnx"]] if told["onnx"] else [])
    with load(folder) as front_end:
        assert front_end.format == ("torchscript" if told["onnx"] else "onnx")
    if told["onnx"]:
        assert told["onnx"] == inspect(folder).obstacles["onnx"]
        words = "onnx in bf16 needs a GPU: .* choose the device cuda, or a format that has them: .*openvino, pt2, torch"
        for use in (load, lambda folder, fmt: validate(folder, formats=[fmt])):
            with pytest.raises(UnavailableError, match=words):
                use(folder, "onnx")
    monkeypatch.setattr(Backend, "unable", lambda *_: None)
    with pytest.raises(ArtefactError, match="NOT_IMPLEMENTED") if told["onnx"] else contextlib.nullcontext():
        load(folder, "onnx").close()


@pytest.mark.parametrize(
    ("gpu", "verdict"),
    [
        ("NVIDIA GeForce RTX 4090, 8.9, 24564 MiB", "builds plans; cuda-bindings is not installed: pip install"),
        ("NVIDIA H200, 9.0, 143771 MiB", "builds plans; no GPU here that it runs them on"),
        ("", "builds plans; no GPU here that it runs them on"),
    ],
)
def test_tensorrt_for_rtx_builds_more_than_it_runs(tmp_path, monkeypatch, gpu, verdict):
    from vtp_export.backends import tensorrt_rtx

    monkeypatch.setattr(tensorrt_rtx, "library", lambda: None)
    monkeypatch.setattr(tensorrt_rtx.Backend, "missing_to_build", lambda self: None)
    monkeypatch.setattr(tensorrt_rtx.cuda, "missing", lambda extra: "cuda-bindings is not installed: pip install 'it'")
    asked = sources(tmp_path, outputs={"nvidia-smi": gpu}, packages={"tensorrt-rtx-cu13-libs": "1.7.1.116"})
    ((found, said),) = rows(doctor(None, asked))["TensorRT for RTX"]
    assert found == "1.7.1.116" and said.startswith(verdict)


def test_tensorrt_for_rtx_that_is_not_there_or_does_not_load(tmp_path, monkeypatch):
    from vtp_export.backends import tensorrt_rtx
    from vtp_export.errors import UnavailableError

    ((found, said),) = rows(doctor(None, sources(tmp_path)))["TensorRT for RTX"]
    assert found is None and said.startswith("for the format tensorrt_rtx: pip install")

    def refuse():
        raise UnavailableError("it cannot be loaded")

    monkeypatch.setattr(tensorrt_rtx, "library", refuse)
    asked = sources(tmp_path, packages={"tensorrt-rtx-cu13-libs": "1.7.1.116"})
    assert "it cannot be loaded" in rows(doctor(None, asked))["TensorRT for RTX"][0][1]
