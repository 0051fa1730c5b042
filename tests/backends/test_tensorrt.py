"""The TensorRT backend, from export to outputs, through a FAKE of both majors. TensorRT itself never runs here."""

import importlib.util
import json
import os
import shutil
import sys
import types
from concurrent.futures import ThreadPoolExecutor
from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import pytest

from tests.sealing import reseal
from tests.tensorrt_api import fake_tensorrt
from tests.tensorrt_api.fake_machine import World
from tests.tensorrt_api.record import record
from vtp_export.backends._tensorrt_run import TensorrtSession
from vtp_export.backends.tensorrt import Backend, RunOptions
from vtp_export.errors import ArtefactError, ExportError, ImageError, SpecError, UnavailableError
from vtp_export.pipeline.build import build
from vtp_export.pipeline.check import check
from vtp_export.pipeline.export import export
from vtp_export.progress import silent
from vtp_export.runtime.artefact import open_artefact
from vtp_export.runtime.brief import brief_of
from vtp_export.runtime.dlpack import CPU, CUDA, DeviceArray, borrowed
from vtp_export.runtime.front_end import load

API = Path(__file__).parent.parent / "tensorrt_api"
ROOT = API.parent.parent
WHEELHOUSE = ROOT / ".venv" / "wheelhouse"


@pytest.fixture
def patch(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return monkeypatch


OLDER = [pytest.param(version, marks=pytest.mark.whole) for version in fake_tensorrt.VERSIONS[:-1]]


@pytest.fixture(params=[*OLDER, fake_tensorrt.VERSIONS[-1]])
def world(request, patch):
    return World(patch, request.param)


@pytest.fixture
def planned(artefact, tmp_path, world):
    """A copy of the tiny artefact with a plan for the fake device."""
    shutil.copytree(artefact, tmp_path / "artefact")
    build(tmp_path / "artefact")
    return tmp_path / "artefact"


def session_of(folder, cuda_graphs=False):
    """The backend's own session, which asks less of its inputs than an open artefact does."""
    artefact = open_artefact(folder)
    (built,) = artefact.builds("tensorrt")
    return TensorrtSession(sys.modules["tensorrt"], folder, built, brief_of(artefact.manifest), cuda_graphs)


def pixels(batch, seed=0):
    return np.random.default_rng(seed).standard_normal((batch, 3, 42, 42), dtype=np.float32)


# --- building and running -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 3, 16])
def test_a_plan_gives_what_its_onnx_file_gives(planned, batch):
    with load(planned, "onnx") as expected, load(planned, "tensorrt") as found:
        one, other = expected.run(pixels(batch)), found.run(pixels(batch))
    for name, array in vars(one).items():
        if array is not None:
            assert np.array_equal(array, vars(other)[name]), name


def test_a_plan_is_validated_as_every_format(planned):
    from vtp_export.pipeline.validate import validate

    assert validate(planned, formats=("tensorrt",), benchmark="shapes", limit=4).passed
    told = open_artefact(planned).manifest.validation["tensorrt"]
    assert (told["device"], told["same_tokens_kept"]) == ("cuda", 4)


def test_a_plan_is_checked_without_the_model(planned):
    report = check(planned, formats=("tensorrt",))
    assert report.passed, report.failures
    assert [one.name for one in report.comparisons] == ["tensorrt on cuda against the graph at the export"]


def test_a_plan_is_preferred_where_it_can_run(planned):
    with load(planned) as opened:
        assert opened.format == "tensorrt"


def test_export_builds_a_plan_and_records_what_it_was_built_on(small_llava, tmp_path, world):
    out = tmp_path / "out"
    report = export(str(small_llava), out, keep=8, formats=("tensorrt",))
    assert {path.name for path in out.glob("*.*")} == {"manifest.json", "model.sm87.plan", "model.sm87.layers.json"}
    (built,) = report.manifest.builds
    assert (built.format, built.main) == ("tensorrt", "model.sm87.plan")
    record = built.engine
    assert (record.runtime, record.compute_capabilities, record.device) == (
        world.fake.version,
        ("8.7",),
        "a fake device",
    )
    layers = json.loads((out / "model.sm87.layers.json").read_text())["Layers"]
    assert "pruner/Loop" in layers
    with load(out) as opened:
        assert opened.run(pixels(2)).kept.shape == (2, 8)


def test_tf32_is_off_and_the_workspace_is_what_was_asked(artefact, tmp_path, world):
    shutil.copytree(artefact, tmp_path / "a")
    build(tmp_path / "a", options={"workspace_gb": "1.5"})
    text = (tmp_path / "a" / "model.sm87.plan").read_bytes()
    import pickle

    built = pickle.loads(text[len(fake_tensorrt.MAGIC) : -32])
    assert built["tf32"] is False
    assert built["workspace"] == int(1.5 * 2**30)
    assert built["profile"]["pixel_values"] == ((1, 3, 42, 42), (1, 3, 42, 42), (16, 3, 42, 42))


def test_progress_is_told(artefact, tmp_path, world):
    shutil.copytree(artefact, tmp_path / "a")
    told = []
    build(tmp_path / "a", progress=lambda text, done=0, total=0: told.append((text, done, total)))
    assert ("TensorRT: Building Engine", 2, 2) in told


def test_outputs_survive_the_next_run_and_belong_to_the_caller(planned):
    with load(planned, "tensorrt") as opened:
        first = opened.run(pixels(2))
        copied = first.tokens.copy()
        opened.run(pixels(2, 1))
        assert np.array_equal(first.tokens, copied)
        first.tokens[:] = 0
        assert np.array_equal(opened.run(pixels(2)).tokens, copied)


def test_eight_threads_at_once(planned):
    with load(planned, "tensorrt") as opened:
        expected = [opened.run(pixels(2, seed)).tokens for seed in range(4)]
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda turn: opened.run(pixels(2, turn % 4)).tokens, range(24)))
    assert all(np.array_equal(tokens, expected[turn % 4]) for turn, tokens in enumerate(found))


def test_closing_gives_all_memory_back(planned, world):
    with load(planned, "tensorrt") as opened:
        opened.run(pixels(1))
        assert world.device.memory
    assert not world.device.memory and not world.device.streams
    with pytest.raises(ValueError, match="this session is closed"):
        opened.run(pixels(1))


def test_cuda_graphs_are_captured_once_for_each_batch(planned, world):
    with load(planned, "onnx") as reference, load(planned, "tensorrt", options={"cuda_graphs": True}) as captured:
        for turn in range(6):
            given = pixels(1 + turn % 2, turn)
            assert np.array_equal(captured.run(given).kept, reference.run(given).kept)
        assert world.device.launches == 4 and len(world.device.graphs) == 2
    assert not world.device.graphs


def test_a_batch_outside_the_profile_is_one_sentence(planned):
    with session_of(planned) as session, pytest.raises(ImageError, match="outside"):
        session.run({"pixel_values": pixels(17)})


def test_a_device_without_room_is_one_sentence(planned, world):
    world.device.capacity = 1000
    with pytest.raises(UnavailableError, match="CUDA says: cudaErrorMemoryAllocation"):
        load(planned, "tensorrt")


def test_a_run_that_tensorrt_refuses_is_one_sentence(planned, world):
    world.become(world.fake.version, refuse_run=True)
    with load(planned, "tensorrt") as opened, pytest.raises(ArtefactError, match="could not run the plan"):
        opened.run(pixels(1))


# --- DLPack ---------------------------------------------------------------------------------------------------------


def test_from_device_to_device(planned, world):
    given = pixels(2)
    with load(planned, "onnx") as reference:
        expected = reference.run(given).tokens
    _, pointer = world.device.cudaMalloc(given.nbytes)
    (world.device.memory[pointer])[:] = given.tobytes()
    tensor = DeviceArray(pointer, given.shape, given.dtype, (CUDA, 0), None)
    with session_of(planned) as session:
        found = session.run_device({"pixel_values": tensor})["tokens"]
    assert found.__dlpack_device__() == (CUDA, 0)
    held = world.device.memory[found.pointer]  # it outlives the session
    assert np.array_equal(np.frombuffer(held, np.float32).reshape(found.shape), expected)


def test_tensors_elsewhere_are_refused(planned):
    class Host:
        def __dlpack__(self, stream=None):
            return pixels(1).__dlpack__()

    with session_of(planned) as session:
        with pytest.raises(ImageError, match="it must be on the GPU"):
            session.run_device({"pixel_values": Host()})
        with pytest.raises(ImageError, match="has no __dlpack__"):
            session.run_device({"pixel_values": [1.0]})


def test_another_dtype_is_refused(planned, world):
    given = pixels(1).astype(np.float16)
    _, pointer = world.device.cudaMalloc(given.nbytes)
    tensor = DeviceArray(pointer, given.shape, given.dtype, (CUDA, 0), None)
    refused = pytest.raises(ImageError, match="pixel_values is float16; it must be float32")
    with session_of(planned) as session, refused:
        session.run_device({"pixel_values": tensor})


def test_capsules_are_those_that_numpy_and_torch_read_and_write():
    import torch

    held = np.arange(12, dtype=np.float32).reshape(3, 4)
    ours = DeviceArray(held.ctypes.data, held.shape, held.dtype, (CPU, 0), held)
    assert np.shares_memory(np.from_dlpack(ours), held)
    assert torch.from_dlpack(ours).tolist() == held.tolist()
    for tensor in (held, torch.from_numpy(held), torch.arange(6, dtype=torch.int64)):
        with borrowed(tensor) as view:
            assert view.shape == tuple(tensor.shape)
            assert view.dtype.itemsize * int(np.prod(view.shape)) == view.nbytes
    with pytest.raises(ImageError, match="not in C order"), borrowed(torch.from_numpy(held).T):
        pass
    with pytest.raises(ImageError, match="type code 4 with 16 bits"), borrowed(torch.zeros(2, dtype=torch.bfloat16)):
        pass


def test_memory_lives_as_long_as_a_capsule_or_who_took_it():
    import gc
    import weakref

    class Owner:
        pass

    held = np.ones(4, dtype=np.float32)
    for taken in (False, True):
        owner = Owner()
        watched = weakref.ref(owner)
        capsule = DeviceArray(held.ctypes.data, held.shape, held.dtype, (CPU, 0), owner).__dlpack__()
        del owner
        gc.collect()
        assert watched() is not None
        if taken:
            array = np.from_dlpack(types.SimpleNamespace(__dlpack__=lambda capsule=capsule, **_: capsule,
                                                         __dlpack_device__=lambda: (CPU, 0)))  # fmt: skip
            del capsule
            gc.collect()
            assert watched() is not None and array[0] == 1
            del array
        else:
            del capsule
        gc.collect()
        assert watched() is None


# --- refusals -------------------------------------------------------------------------------------------------------


def test_another_version_is_refused_before_tensorrt_sees_the_plan(planned, world, monkeypatch):
    other = next(version for version in fake_tensorrt.VERSIONS if version != world.fake.version)
    built = world.fake.version
    world.become(other)
    monkeypatch.setattr(world.fake.module.Runtime, "deserialize_cuda_engine", None)
    with pytest.raises(
        ArtefactError, match=f"built by TensorRT {built}, and here is {other}.*vtp-export build .* --format tensorrt"
    ):
        load(planned, "tensorrt")


def test_another_gpu_is_refused_and_may_get_a_plan_of_its_own(planned, world):
    world.become(world.fake.version, (7, 2))
    with pytest.raises(ArtefactError, match=r"compute capability 8.7 \(a fake device\), and here is 7.2"):
        load(planned, "tensorrt")
    build(planned)
    assert [built.main for built in open_artefact(planned).builds("tensorrt")] == ["model.sm87.plan", "model.sm72.plan"]
    for capability in ((7, 2), (8, 7)):
        world.become(world.fake.version, capability)
        with load(planned, "tensorrt") as opened:
            opened.run(pixels(1))


def test_inspect_says_which_plan_would_open(planned, world):
    from vtp_export.pipeline.inspect import inspect

    assert inspect(planned).obstacles["tensorrt"] is None
    world.become(world.fake.version, (7, 2))
    assert "and here is 7.2" in inspect(planned).obstacles["tensorrt"]
    with load(planned) as opened:
        assert opened.format == "onnx"  # none was named, and this one runs


def test_another_platform_is_refused(planned, monkeypatch):
    import platform

    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    with pytest.raises(ArtefactError, match="here is linux-riscv64"):
        load(planned, "tensorrt")


def test_damage_is_refused_before_tensorrt_sees_the_plan(planned, world, monkeypatch):
    build(planned, force=True)
    path = planned / "model.sm87.plan"
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    monkeypatch.setattr(world.fake.module.Runtime, "deserialize_cuda_engine", None)
    with pytest.raises(ArtefactError, match="is damaged"):
        load(planned, "tensorrt")


def test_a_damaged_plan_for_another_gpu_keeps_nobody_from_running(planned, world):
    world.become(world.fake.version, (7, 2))
    build(planned)
    (planned / "model.sm87.plan").write_bytes(b"damaged")
    with load(planned, "tensorrt") as opened:
        opened.run(pixels(1))


def test_a_plan_without_a_record_is_refused(planned):
    reseal(planned / "manifest.json", lambda manifest: [build.update(engine=None) for build in manifest["builds"]])
    with pytest.raises(ArtefactError, match=r"model\.sm87\.plan: the manifest does not say what it was built on"):
        load(planned, "tensorrt")


def test_what_tensorrt_refuses_is_told_in_its_words(planned):
    (planned / "model.sm87.plan").write_bytes(b"not a plan")
    with pytest.raises(ArtefactError, match=r"refuses model\.sm87\.plan: Serialization assertion failed"):
        session_of(planned)


def test_a_plan_does_not_run_elsewhere(planned):
    with load(planned, "tensorrt", device="cuda") as opened:
        opened.run(pixels(1))
    with pytest.raises(UnavailableError, match="tensorrt runs on cuda, not on cpu"):
        load(planned, "tensorrt", device="cpu")


def test_a_parser_error_names_the_node_and_leaves_the_artefact_alone(artefact, tmp_path, world):
    shutil.copytree(artefact, tmp_path / "a")
    before = {path.name: path.read_bytes() for path in (tmp_path / "a").glob("*.*")}
    world.become(world.fake.version, parser=("node_eq_579", "Equal", "no UINT16"))
    with pytest.raises(ExportError, match=r"refuses node_eq_579 \(Equal\): no UINT16; 'vtp-export lint'"):
        build(tmp_path / "a")
    assert {path.name: path.read_bytes() for path in (tmp_path / "a").glob("*.*")} == before


def test_a_build_without_memory_says_so(artefact, tmp_path, world):
    shutil.copytree(artefact, tmp_path / "a")
    world.become(world.fake.version, out_of_memory=True)
    with pytest.raises(ExportError, match=r"could not build an engine: \[builder\] out of memory: requested 9 GiB"):
        build(tmp_path / "a")


def test_a_plan_that_tensorrt_does_not_read_back_is_not_kept(artefact, tmp_path, world):
    shutil.copytree(artefact, tmp_path / "a")
    world.become(world.fake.version, unreadable=True)
    with pytest.raises(ExportError, match="does not read the plan that it just built"):
        build(tmp_path / "a")
    assert open_artefact(tmp_path / "a").manifest.formats() == ["onnx", "torchscript"]


@pytest.mark.parametrize("workspace", [0.0, -1.0, float("nan")])
def test_a_workspace_that_is_none_is_refused(artefact, workspace):
    with pytest.raises(SpecError, match=r"workspace_gb is .*; it must be a positive number"):
        build(artefact, options={"workspace_gb": workspace})


def test_a_plan_that_is_there_is_replaced_only_by_force(planned):
    with pytest.raises(ArtefactError, match=r"has model\.sm87\.plan already; use --force"):
        build(planned)
    build(planned, force=True)


def test_without_an_onnx_file_there_is_nothing_to_build_from(small_llava, tmp_path, world):
    export(str(small_llava), tmp_path / "ts", keep=8, formats=("torchscript",))
    with pytest.raises(ArtefactError, match="has no format 'onnx'"):
        build(tmp_path / "ts")


def test_without_tensorrt_the_reason_is_given(artefact, tmp_path, monkeypatch):
    shutil.copytree(artefact, tmp_path / "a")
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "tensorrt" else find(name))
    with pytest.raises(UnavailableError, match="tensorrt is not installed"):
        build(tmp_path / "a")
    with pytest.raises(UnavailableError, match="tensorrt is not installed"):
        Backend().build(None, None, tmp_path, silent)
    with pytest.raises(UnavailableError, match="tensorrt is not installed"):
        Backend().open(tmp_path, None, None, "cuda", None, RunOptions())
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name.startswith("cuda") else ModuleSpec(name, None)
    )
    assert "cuda-bindings is not installed" in Backend().missing()


# --- the timing cache -----------------------------------------------------------------------------------------------


def test_timings_of_all_builds_are_kept(planned, tmp_path, world):
    (cache,) = (tmp_path / "cache" / "vtp-export").glob("*.cache")
    assert cache.name == f"timings-tensorrt-{world.fake.version}-sm87.cache"
    first = cache.read_bytes()
    cache.write_bytes(first + b"|of another process")

    def meanwhile(text, done=0, total=0):  # another build ends while this one runs
        if "Building" in text:
            cache.write_bytes(first + b"|of another process|of a third")

    build(planned, force=True, progress=meanwhile)
    assert set(cache.read_bytes().split(b"|")) == {*first.split(b"|"), b"of another process", b"of a third"}


# --- the recordings -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", fake_tensorrt.VERSIONS)
def test_the_recording_is_what_the_binding_wheel_has(version):
    wheels = sorted(
        WHEELHOUSE.glob(f"tensorrt_cu*_bindings-{version}*-cp{sys.version_info[0]}{sys.version_info[1]}-*x86_64.whl")
    )
    if not wheels or shutil.which("cc") is None or os.uname().machine != "x86_64":
        pytest.skip(f"no binding wheel of TensorRT {version} for this Python in {WHEELHOUSE}, or no C compiler")
    assert record(wheels[0]) == json.loads((API / f"{version}.json").read_text())


def test_the_fake_refuses_what_the_recording_does_not_have(world):
    module = world.fake.module
    with pytest.raises(AttributeError):
        module.Builder.max_batch_size  # noqa: B018
    builder = module.Builder(module.Logger())
    with pytest.raises(AttributeError, match="has no attribute 'max_workspace_size'"):
        builder.max_workspace_size  # noqa: B018
    with pytest.raises(AttributeError, match="cannot be set"):
        builder.max_workspace_size = 1
    with pytest.raises(TypeError, match="fits none of"):
        builder.create_network("flags")
    with pytest.raises(TypeError, match="fits none of"):
        module.Builder()
    config = builder.create_builder_config()
    with pytest.raises(TypeError):
        config.clear_flag(1.5)
    assert hasattr(module.BuilderFlag, "FP16") is (world.fake.version == "10.3.0")
