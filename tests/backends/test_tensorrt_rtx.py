"""TensorRT for RTX: NVIDIA's own parser and builder, which need no GPU; opening and running through a FAKE.

What builds is the code that builds for TensorRT, so what is seen here of the real API holds for both. That the parser
takes every pruner is seen where they are exported: `lint` asks it (`tests/laws/test_pruner_exports.py`).
"""

import dataclasses
import importlib
import json
import shutil
import sys
from pathlib import Path

import pytest

from tests.tensorrt_api.fake_machine import World
from tests.tensorrt_api.fake_tensorrt import RTX
from tests.tensorrt_api.record import record
from vtp_export import rooms
from vtp_export.backends import tensorrt_rtx
from vtp_export.backends._tensorrt_build import Network, logger
from vtp_export.backends.tensorrt_rtx import CAPABILITIES, Backend
from vtp_export.errors import ArtefactError, ExportError, SpecError, UnavailableError
from vtp_export.pipeline.build import build
from vtp_export.pipeline.export import export
from vtp_export.pipeline.inspect import inspect
from vtp_export.precision.policy import Precision
from vtp_export.precision_plans import PrecisionPlan
from vtp_export.runtime.artefact import open_artefact
from vtp_export.runtime.front_end import load

ROOT = Path(__file__).parent.parent.parent
FORMAT, PLAN, LAYERS = "tensorrt_rtx", "model.rtx.plan", "model.rtx.layers.json"
real = pytest.mark.skipif(Backend().missing_to_build() is not None, reason=str(Backend().missing_to_build()))


@pytest.fixture
def bare(artefact, tmp_path):
    """A copy of the tiny artefact."""
    return shutil.copytree(artefact, tmp_path / "artefact")


@pytest.fixture
def world(monkeypatch):
    """A FAKE machine with an RTX GPU of compute capability 8.6."""
    return World(monkeypatch, RTX)


@pytest.fixture
def planned(bare, world):
    """The artefact with a plan, which the fake has built."""
    build(bare, format=FORMAT, options={"target": "sm86,sm120"})
    return bare


# --- NVIDIA's parser and builder --------------------------------------------------------------------------------------


@real
def test_one_plan_for_several_gpus_is_built_without_one(bare):
    told = []
    report = build(bare, format=FORMAT, options={"target": "sm120,sm86"}, progress=lambda *given: told.append(given))
    engine, version = report.build.engine, tensorrt_rtx.library().__version__
    assert (engine.runtime, engine.compute_capabilities) == (version, ("8.6", "12.0"))
    assert (engine.platform, engine.device) == (None, None)
    assert (report.build.main, sorted(report.build.files)) == (PLAN, [LAYERS, PLAN])
    assert open_artefact(bare).manifest.identity().encode() in (bare / PLAN).read_bytes()
    assert [given for given in told if given[0].startswith("TensorRT: ") and given[1:] == (1, 1)]


@real
def test_a_plan_for_all_is_no_larger_than_a_plan_for_one_and_the_layers_are_told(bare):
    one = build(bare, format=FORMAT, options={"target": "sm86"}).build
    most = build(bare, format=FORMAT, force=True).build
    assert most.files[PLAN].bytes < 1.01 * one.files[PLAN].bytes
    assert most.engine.compute_capabilities == ("8.0", "8.6", "8.9", "12.0", "12.1")
    layers = json.loads((bare / LAYERS).read_text())["Layers"]
    assert {"MATRIX_MULTIPLY", "LOOP_OUTPUT"} <= {layer["LayerType"] for layer in layers}
    products = [layer["Outputs"] for layer in layers if layer["LayerType"] == "MATRIX_MULTIPLY"]
    assert {output.partition(" ")[0] for (output,) in products} == {"float"}


@real
def test_outputs_keep_their_types(artefact):
    """The parser reminds its user to bind int64 outputs as such; the session allocates what the engine says."""
    network = Network(tensorrt_rtx.library(), artefact / "model.onnx")
    parsed = network._network
    outputs = [parsed.get_output(place) for place in range(parsed.num_outputs)]
    expected = {spec.name: spec.dtype for spec in open_artefact(artefact).manifest.outputs}
    names = {"FLOAT": "float32", "INT64": "int64"}
    assert {tensor.name: names[tensor.dtype.name] for tensor in outputs} == expected


NARROW = {
    "fp16": Precision(name="fp16", images="shapes", limit=2),
    "bf16": Precision(name="bf16"),
    "int8": Precision(name="int8", activations="static", images="shapes", limit=2),
}


@real
@pytest.mark.whole  # sampled by the plans that are built below
@pytest.mark.parametrize(
    ("pruner", "precision"),
    [(pruner, precision) for pruner in rooms.names("pruners") for precision in NARROW],
)
def test_the_parser_takes_every_method_in_every_precision(small_llava, tmp_path, pruner, precision):
    """In float32 it is asked where all methods are exported, `tests/laws/test_pruner_exports.py`."""
    report = export(small_llava, tmp_path / "a", pruner=pruner, keep=8, precision=NARROW[precision], golden=0)
    assert report.manifest.pruner.name == pruner
    assert tensorrt_rtx.refusals(tmp_path / "a" / "model.onnx") == ()


PART = dataclasses.replace(NARROW["int8"], plan=PrecisionPlan(float32=("frontend.tower.encoder.layers.0.mlp",)))
"""One group of layers stays in float32 between others."""


@real
@pytest.mark.parametrize(
    "precision",
    [
        *(
            pytest.param(one, id=name, marks=() if name == "fp16" else pytest.mark.whole)
            for name, one in NARROW.items()
        ),
        pytest.param(PART, id="part", marks=pytest.mark.whole),
    ],
)
def test_a_plan_is_built_in_every_precision(small_llava, tmp_path, precision):
    report = export(
        str(small_llava), tmp_path / "a", pruner="fastervlm", keep=8, formats=(FORMAT,), precision=precision, golden=0
    )
    assert report.manifest.formats() == [FORMAT]
    text = (tmp_path / "a" / LAYERS).read_text()
    assert {"fp16": "half [", "bf16": "bf16 [", "int8": "int8 ["}[precision.name] in text
    assert (report.plan is not None and len(report.manifest.precision.float32_layers) == 2) is (precision is PART)


@real
def test_turing_has_no_float32_products_and_takes_the_unpruned_front_end_in_half(small_llava, bare, tmp_path):
    with pytest.raises(ExportError, match=r"could not build an engine: .*Turing \(SM75\): FP32 GEMM is not supported"):
        build(bare, format=FORMAT, options={"target": "sm75"})
    half = Precision(name="fp16", images="shapes", limit=2)
    options = {"target": "sm75,sm86"}
    export(
        str(small_llava), tmp_path / "a", pruner="none", formats=(FORMAT,), precision=half, golden=0, options=options
    )
    assert open_artefact(tmp_path / "a").builds(FORMAT)[0].engine.compute_capabilities == ("7.5", "8.6")


@real
@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_what_progress_raises_stops_the_build_and_is_raised(bare, error):
    before = sorted(bare.rglob("*"))

    def listen(text, done=0, total=0):
        if text == "TensorRT: Building engine":
            raise error("the bar broke")

    with pytest.raises(error, match="the bar broke"):
        build(bare, format=FORMAT, progress=listen)
    assert sorted(bare.rglob("*")) == before


@real
def test_a_file_that_the_parser_refuses_is_one_sentence(tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"garbage")
    network = Network(tensorrt_rtx.library(), tmp_path / "m.onnx")
    with pytest.raises(
        ExportError, match=r"TensorRT's parser refuses the file \(\?\): .*; 'vtp-export lint'"
    ) as caught:
        network.config(None)
    assert "\n" not in str(caught.value)


@real
def test_errors_are_heard_although_something_of_the_library_lives(artefact, tmp_path):
    """It keeps the first logger that it was given as long as a builder or runtime of it lives."""
    trt = tensorrt_rtx.library()
    living = Network(trt, artefact / "model.onnx")
    assert trt.Runtime(logger(trt)).deserialize_cuda_engine(b"no plan at all" * 20) is None
    assert logger(trt) is living._log


@real
def test_the_capabilities_are_those_of_the_library():
    members = tensorrt_rtx.library().ComputeCapability.__members__
    assert {name.lower() for name in members} - {"none", "current"} == set(CAPABILITIES)


@real
def test_the_recording_is_what_the_binding_module_has(tmp_path):
    """Of the installed package, put into a wheel as it came in one."""
    import zipfile

    folder = Path(importlib.util.find_spec(tensorrt_rtx.MODULE).origin).parent
    with zipfile.ZipFile(tmp_path / "bindings.whl", "w") as wheel:
        for name in ("__init__.py", "tensorrt_rtx.so"):
            wheel.write(folder / name, f"{folder.name}/{name}")
    recorded = json.loads((ROOT / "tests" / "tensorrt_api" / f"{RTX}.json").read_text())
    assert record(tmp_path / "bindings.whl") == recorded


# --- opening, on a fake -----------------------------------------------------------------------------------------------


def test_a_plan_opens_on_each_gpu_that_it_is_for(planned, world):
    with load(planned) as opened:
        assert opened.format == FORMAT
    world.become(RTX, (12, 0))
    with load(planned, FORMAT) as opened:
        assert opened.format == FORMAT


def test_a_plan_of_another_machine_may_be_for_this_one(planned, world, monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    with load(planned, FORMAT) as opened:
        assert opened.format == FORMAT


def test_another_gpu_is_refused(planned, world):
    world.become(RTX, (8, 9))
    with pytest.raises(
        ArtefactError, match=r"built for compute capability 8.6, 12.0, and here is 8.9 \(a fake device\)"
    ):
        load(planned, FORMAT)


def test_a_gpu_that_is_no_rtx_is_named(planned, world):
    world.become(RTX, (9, 0))
    assert inspect(planned).obstacles[FORMAT] == (
        "TensorRT for RTX runs on GPUs of compute capability 7.5, 8.0, 8.6, 8.9, 12.0, 12.1; a fake device has 9.0"
    )
    with load(planned) as opened:
        assert opened.format == "onnx"


def test_another_version_is_refused(planned, world):
    world.fake.module.__version__ = "1.8.0.1"
    with pytest.raises(ArtefactError, match=r"it was built by TensorRT for RTX 1.7.1, and here is 1.8.0.1"):
        load(planned, FORMAT)


# --- what is missing --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["sm86,sm90", "", "sm86;sm89"])
def test_an_unknown_capability_is_one_sentence(bare, target):
    known = "it must be of sm75, sm80, sm86, sm89, sm120, sm121, with commas between them"
    with pytest.raises(SpecError, match=rf"setting target is '{target}'; {known}"):
        build(bare, format=FORMAT, options={"target": target})


def test_a_package_that_is_missing_is_one_sentence(bare, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *given: None if "rtx" in name else find(name, *given))
    with pytest.raises(UnavailableError, match=r"^TensorRT for RTX is not installed: pip install "):
        build(bare, format=FORMAT)


def test_the_gpu_needs_bindings_of_cuda_and_building_does_not(bare, world, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *given: None if "cuda" in name else find(name, *given)
    )
    build(bare, format=FORMAT)
    assert "cuda-bindings is not installed: pip install" in inspect(bare).obstacles[FORMAT]
    assert "Jetson" not in inspect(bare).obstacles[FORMAT]


def test_an_old_version_and_two_versions_at_once_are_one_sentence_each(world, monkeypatch):
    monkeypatch.setattr(tensorrt_rtx, "versions", lambda packages: {})
    world.fake.module.__version__ = "1.6.1.120"
    with pytest.raises(UnavailableError, match=r"TensorRT for RTX 1.6.1.120 is too old; 1.7 or newer: pip install"):
        tensorrt_rtx.library()
    monkeypatch.setattr(tensorrt_rtx, "versions", lambda packages: dict(zip(packages, ("1.7.1", "1.8"), strict=True)))
    with pytest.raises(UnavailableError, match=r"-bindings 1.7.1 and .*-libs 1.8 are not of one release: pip install"):
        tensorrt_rtx.library()


def test_bindings_without_their_libraries_are_one_sentence(world, monkeypatch):
    def refuse(name):
        raise ImportError("libtensorrt_rtx.so.1: cannot open shared object file:\n No such file")

    monkeypatch.setattr(importlib, "import_module", refuse)
    with pytest.raises(UnavailableError, match=r"cannot be loaded \(libtensorrt_rtx.so.1: .* file\): pip install"):
        tensorrt_rtx.library()
    assert sys.modules[tensorrt_rtx.MODULE] is world.fake.module
