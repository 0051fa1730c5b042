"""Providers without a GPU: what is refused and how, what ONNX Runtime is asked for, and that no fallback stays silent.

The sentences of a missing library were compared with onnxruntime-gpu 1.31.1 on a machine without a GPU.
"""

import importlib.metadata
import os
import types
from collections import Counter

import numpy as np
import onnxruntime
import pytest
import torch

from vtp_export.backends import _torch, onnx, pt2, torchscript
from vtp_export.errors import ImageError, SpecError, UnavailableError, UnknownNameError
from vtp_export.pipeline.export import export
from vtp_export.runtime import providers
from vtp_export.runtime.artefact import open_artefact
from vtp_export.runtime.brief import brief_of
from vtp_export.runtime.front_end import load

CUDA_LIBRARIES = ("libcublasLt.so.13", "libcurand.so.10", "libcuda.so.1", "libc.so.6")


@pytest.fixture
def gpu_wheel(monkeypatch, shared_library):
    """Pretend that onnxruntime-gpu is installed, its providers linked to what is named."""

    def install(provider, *libraries, packages=("onnxruntime-gpu",), versions=()):
        path = shared_library(f"libonnxruntime_providers_{provider}.so", *libraries)
        told = {"onnxruntime-gpu": "1.31.1", **dict.fromkeys(packages, "1.0"), **dict(versions)}
        known = {*packages, *dict(versions)}

        def version(package):
            if package not in known:
                raise importlib.metadata.PackageNotFoundError(package)
            return told[package]

        available = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
        monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: available)
        monkeypatch.setattr(providers, "library", lambda name: path)
        monkeypatch.setattr(importlib.metadata, "version", version)

    return install


def refusal(artefact, provider):
    with pytest.raises(UnavailableError) as caught:
        load(artefact, "onnx", device="cuda", options={"tensorrt": provider == "tensorrt"})
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_a_wheel_without_the_provider(artefact, provider):
    if providers.NAMES[provider] in onnxruntime.get_available_providers():
        pytest.skip("this is onnxruntime-gpu")
    sentence = refusal(artefact, provider)
    assert f"built without {providers.NAMES[provider]}" in sentence
    assert "pip install 'onnxruntime-gpu>=" in sentence


def test_two_wheels_in_one_place(artefact, gpu_wheel, monkeypatch):
    gpu_wheel("cuda", packages=("onnxruntime", "onnxruntime-gpu"))
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    sentence = refusal(artefact, "cuda")
    assert "both installed" in sentence
    assert "pip uninstall -y onnxruntime onnxruntime-gpu" in sentence


def test_no_driver(artefact, gpu_wheel):
    gpu_wheel("cuda", *CUDA_LIBRARIES)
    sentence = refusal(artefact, "cuda")
    assert "libcublasLt.so.13, libcurand.so.10, libcuda.so.1)" in sentence
    assert "NVIDIA's driver" in sentence


def test_no_cuda(artefact, gpu_wheel):
    gpu_wheel("cuda", "libcublasLt.so.13", "libc.so.6")
    assert "(libcublasLt.so.13): pip install 'onnxruntime-gpu[cuda,cudnn]'" in refusal(artefact, "cuda")


def test_a_tensorrt_of_another_major(artefact, gpu_wheel):
    gpu_wheel("tensorrt", "libnvinfer.so.10", "libc.so.6", versions={"tensorrt": "11.4.0.8"})
    sentence = refusal(artefact, "tensorrt")
    assert "linked to TensorRT 10 and tensorrt 11.4.0.8 is installed; install a TensorRT 10" in sentence


def test_libraries_that_came_as_python_packages_are_found(gpu_wheel, monkeypatch, tmp_path):
    gpu_wheel("tensorrt", "libnvinfer.so.10", "libc.so.6")
    loaded = []
    found = types.SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr(providers.importlib.util, "find_spec", lambda name: found if name == "tensorrt_libs" else None)
    monkeypatch.setattr(providers.ctypes, "CDLL", loaded.append)
    assert providers.why_unavailable("tensorrt") is None
    assert str(tmp_path / "libnvinfer.so.10") in loaded


@pytest.mark.filterwarnings("ignore:Specified provider:UserWarning")
@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_a_session_that_fell_back_without_a_word_is_refused(artefact, monkeypatch, tmp_path, provider):
    """The fallback is ONNX Runtime's own: a wheel for the CPU, asked for CUDA, gives a session on the CPU."""
    if providers.NAMES[provider] in onnxruntime.get_available_providers():
        pytest.skip("this is onnxruntime-gpu")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "1")
    monkeypatch.setattr(onnx, "why_unavailable", lambda name: None)
    assert "fell back to CPUExecutionProvider" in refusal(artefact, provider)


def test_a_session_that_cannot_be_made_on_a_provider_says_so(artefact, monkeypatch):
    def fail(*args, **kwargs):
        assert kwargs["enable_fallback"] == 0
        raise RuntimeError("CUDA failure 100: no CUDA-capable device is detected ; GPU=0\nmore")

    monkeypatch.setattr(onnx, "why_unavailable", lambda name: None)
    monkeypatch.setattr(onnxruntime, "InferenceSession", fail)
    sentence = refusal(artefact, "cuda")
    assert sentence.startswith("ONNX Runtime cannot run model.onnx on cuda: CUDA failure 100: no CUDA-capable device")


class Placed:
    """A session as ONNX Runtime describes it."""

    def __init__(self, **nodes):
        self.nodes = nodes

    def get_providers(self):
        return [f"{name}ExecutionProvider" for name in self.nodes]

    def get_provider_graph_assignment_info(self):
        return [
            types.SimpleNamespace(
                ep_name=f"{name}ExecutionProvider",
                get_nodes=lambda ops=ops: [types.SimpleNamespace(op_type=op) for op in ops.split()],
            )
            for name, ops in self.nodes.items()
        ]


def test_shapes_on_the_cpu_are_told_and_not_refused():
    session = Placed(CUDA="MatMul Add Softmax MatMul", CPU="Shape Gather Shape")
    (note,) = providers.check(session, "cuda")
    assert note == "CUDAExecutionProvider runs 4 of 7 nodes; on the CPU: 2 Shape, 1 Gather"
    assert providers.check(Placed(CUDA="MatMul Add", CPU=""), "cuda") == ()


@pytest.mark.parametrize("op", ["MatMul", "Gemm", "Conv", "FusedMatMul", "MultiHeadAttention", "MatMulInteger"])
def test_products_on_the_cpu_are_refused(op):
    with pytest.raises(UnavailableError, match=f"CUDAExecutionProvider leaves 2 {op} to the CPU"):
        providers.check(Placed(CUDA="MatMul Add", CPU=f"Shape {op} {op}"), "cuda")


def test_a_provider_that_runs_nothing_is_refused():
    with pytest.raises(UnavailableError, match="leaves all 2 nodes to the CPU"):
        providers.check(Placed(CUDA="", CPU="Add Mul"), "cuda")


def test_what_tensorrt_leaves_to_cuda_is_no_fallback():
    assert providers.check(Placed(Tensorrt="Conv", CUDA="MatMul", CPU=""), "tensorrt") == ()


def test_an_old_runtime_that_does_not_tell_is_believed():
    session = types.SimpleNamespace(get_providers=lambda: ["CUDAExecutionProvider"])
    assert providers.check(session, "cuda") == ()


def test_the_real_runtime_tells_what_runs_where(artefact):
    settings = onnxruntime.SessionOptions()
    settings.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    path = str(artefact / "model.onnx")
    session = onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
    counted = providers.placement(session)
    assert set(counted) == {"CPUExecutionProvider"}
    # Products are there to be found, and so are shapes: `session.disable_cpu_ep_fallback` would refuse this graph.
    assert counted["CPUExecutionProvider"]["MatMul"] > 10
    assert counted["CPUExecutionProvider"]["Shape"] > 0
    assert providers.check(session, "cpu") == ()


def test_tf32_is_off(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "1")
    assert providers.providers("cuda", tmp_path) == [("CUDAExecutionProvider", {"use_tf32": "0"})]
    assert os.environ["NVIDIA_TF32_OVERRIDE"] == "1"
    (name, options), behind = providers.providers("tensorrt", tmp_path / "model.onnx")
    assert name == "TensorrtExecutionProvider"
    assert options["trt_fp16_enable"] == options["trt_int8_enable"] == "0"
    assert behind[0] == "CUDAExecutionProvider"
    assert os.environ["NVIDIA_TF32_OVERRIDE"] == "0"


def test_engines_of_other_weights_are_not_met_again(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    model, data = tmp_path / "model.onnx", tmp_path / "model.onnx.data"
    folders = []
    for weights in (b"1", b"2", b"1"):
        model.write_bytes(b"graph")
        data.write_bytes(weights)
        folders.append(providers._engine_cache(model))
    assert folders[0] == folders[2] != folders[1]
    assert folders[0].stat().st_mode & 0o077 == 0
    assert folders[0].is_relative_to(tmp_path / "cache" / "vtp-export")


@pytest.fixture
def pretended_cuda(monkeypatch):
    """A torch that was built with CUDA, where there is a device."""
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "init", lambda: None)
    matmul, cudnn = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = matmul, cudnn


def test_torch_on_cuda_computes_in_float32(pretended_cuda):
    torch.backends.cudnn.allow_tf32 = True
    _torch.prepare("cuda")
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32


def test_torch_says_why_it_cannot(pretended_cuda, monkeypatch):
    def fail():
        raise RuntimeError("Found no NVIDIA driver on your system.\nmore")

    monkeypatch.setattr(torch.cuda, "init", fail)
    with pytest.raises(UnavailableError, match=r"^torch cannot use CUDA: Found no NVIDIA driver on your system\.$"):
        _torch.prepare("cuda")


@pytest.fixture(scope="module")
def unrolled(small_llava, tmp_path_factory):
    """Without a loop: its body runs on no device that has no values."""
    out = tmp_path_factory.mktemp("unrolled") / "a"
    export(str(small_llava), out, keep=8, formats=("pt2", "torchscript"), loop_free=True)
    return out


def test_a_pt2_moves_to_another_device_as_a_whole(unrolled, monkeypatch):
    """The device "meta" has shapes and no values, and is as strict about mixtures of devices as a GPU."""
    monkeypatch.setattr(pt2, "prepare", lambda device: None)
    artefact, backend = open_artefact(unrolled), pt2.Backend()
    (build,), brief = artefact.builds("pt2"), brief_of(artefact.manifest)
    with backend.open(unrolled, build, brief, "meta", None, backend.Options()) as session:
        results = session._results([torch.zeros(2, 3, 42, 42, device="meta")])
    assert {value.device.type for value in results.values()} == {"meta"}
    assert results["tokens"].shape == (2, 8, 48)


def test_a_trace_moves_to_another_device(unrolled):
    def load_trace():
        with torchscript._deprecation_contained():
            return torch.jit.load(unrolled / "model.ts")

    def noted(module):  # inlining writes into the parts: a module that was asked cannot be moved any more
        graph = module.inlined_graph
        nodes = graph.findAllNodes("prim::Constant", True)
        return {node.s("value") for node in nodes if node.output().type().str() == "Device"}

    assert noted(load_trace()) == {"cpu"}
    moved = load_trace()
    torchscript.move_constants(moved, "cuda")
    assert noted(moved) == {"cuda"}


def test_arrays_of_a_device_through_an_artefact(artefact):
    images = np.random.default_rng(0).standard_normal((2, 3, 42, 42), dtype=np.float32)
    with load(artefact, "onnx") as front_end:
        expected = front_end.run(images)
        for given in (images, torch.from_numpy(images), onnxruntime.OrtValue.ortvalue_from_numpy(images)):
            found = front_end.run_device(given)
            for name, value in found.items():
                assert np.array_equal(torch.from_dlpack(value).numpy(), getattr(expected, name))
        with pytest.raises(ImageError, match="shape"):
            front_end.run_device(torch.zeros(1, 3, 41, 42))
        with pytest.raises(ImageError, match="17 images"):
            front_end.run_device(torch.zeros(17, 3, 42, 42))


def test_an_array_of_another_device_is_refused(artefact):
    with load(artefact, "torchscript") as front_end:
        front_end._session.device = "cuda"
        with pytest.raises(ImageError, match="'pixel_values' is on cpu and this session runs on cuda"):
            front_end.run_device(torch.zeros(1, 3, 42, 42))
    with load(artefact, "onnx") as front_end:
        front_end._session.device = "cuda"
        with pytest.raises(ImageError, match="'pixel_values' is on cpu and this session runs on cuda"):
            front_end.run_device(np.zeros((1, 3, 42, 42), np.float32))


def test_arrays_that_are_not_contiguous(artefact):
    images = np.random.default_rng(0).standard_normal((2, 42, 42, 3), dtype=np.float32).transpose(0, 3, 1, 2)
    with load(artefact, "onnx") as front_end:
        assert np.array_equal(front_end.run(images).tokens, front_end.run(images.copy()).tokens)


def test_the_option_tensorrt_is_for_cuda(artefact):
    with pytest.raises(SpecError, match="the option tensorrt is for the device cuda, and the device is cpu"):
        load(artefact, "onnx", options={"tensorrt": True})


def test_options_are_those_of_the_format(artefact):
    with pytest.raises(UnknownNameError, match="no option of onnx named 'tensort'; did you mean 'tensorrt'"):
        load(artefact, "onnx", options={"tensort": True})
    with pytest.raises(UnknownNameError, match="no option of torchscript named 'tensorrt'"):
        load(artefact, "torchscript", options={"tensorrt": True})
    with pytest.raises(SpecError, match="option of onnx tensorrt is 'maybe'; it must be true or false"):
        load(artefact, "onnx", options={"tensorrt": "maybe"})


def test_devices_are_told_apart(artefact):
    with load(artefact, "onnx", device="cpu") as front_end:
        assert front_end.device == "cpu"
    with pytest.raises(UnknownNameError, match="no device named 'cudda'; did you mean 'cuda'"):
        load(artefact, device="cudda")


def test_counters_are_told_by_size():
    assert providers._told(Counter(Shape=1, Gather=3)) == "3 Gather, 1 Shape"
