"""What OpenVINO is asked to compute with, what it is believed, and what it says when it cannot."""

import importlib.metadata
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tests.formats import open_built
from vtp_export.backends import openvino as room
from vtp_export.errors import ArtefactError, ExportError, SpecError, UnavailableError
from vtp_export.pipeline.build import build
from vtp_export.pipeline.check import check
from vtp_export.pipeline.export import export
from vtp_export.precision.int8 import BlockInt8Layer
from vtp_export.precision.policy import Precision
from vtp_export.progress import silent
from vtp_export.runtime.artefact import open_artefact
from vtp_export.runtime.brief import Brief, brief_of
from vtp_export.runtime.front_end import load
from vtp_export.spec import BatchRange, TensorSpec

openvino = pytest.importorskip("openvino")
NARROW = "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
on_a_narrow_cpu = pytest.mark.skipif(not NARROW, reason="this CPU has no bfloat16, and OpenVINO takes float32")
PIXELS = np.random.default_rng(0).standard_normal((2, 3, 42, 42), dtype=np.float32)


@pytest.fixture(scope="module")
def artefact(small_llava, tmp_path_factory):
    """An artefact whose IR was built after the export, as on a board."""
    out = tmp_path_factory.mktemp("openvino") / "out"
    export(small_llava, out, keep=8, batch=(1, 1, 4), golden=4, golden_images="shapes")
    build(out, format="openvino")
    return out


def computed_in(front_end):
    """The types of the operations that were compiled."""
    nodes = front_end._session._compiled.get_runtime_model().get_ops()
    return {node.get_rt_info()["runtimePrecision"].astype(str) for node in nodes}


def test_the_ir_says_what_the_onnx_file_says(artefact):
    with load(artefact, "onnx") as onnx, load(artefact, "openvino") as front_end:
        expected, found = onnx.run(PIXELS), front_end.run(PIXELS)
    assert np.array_equal(found.kept, expected.kept)
    np.testing.assert_allclose(found.tokens, expected.tokens, atol=1e-5)
    np.testing.assert_allclose(found.erank, expected.erank, rtol=1e-4)
    assert check(artefact, formats=["openvino"]).passed


def test_weights_are_not_rounded(artefact):
    """OpenVINO's own way of saving halves them."""
    (build,) = open_artefact(artefact).builds("openvino")
    weights = build.files["model.bin"].bytes
    assert 0 < open_artefact(artefact).manifest.model.weights_bytes <= weights
    with load(artefact, "openvino") as front_end:
        assert front_end.narrow_weights() == {}


def test_float32_is_computed_with_and_told_of_nobody(artefact):
    with load(artefact, "openvino") as front_end:
        assert not computed_in(front_end) & {"bf16", "f16"}
        assert front_end.notes == ()


@on_a_narrow_cpu
def test_less_is_computed_with_where_it_is_asked_for_by_name(artefact):
    with load(artefact, "openvino", options={"precision": "bf16"}) as front_end:
        assert "bf16" in computed_in(front_end)
        assert front_end.notes == (
            "OpenVINO computes in bfloat16, as was asked for, and keeps other tokens than the graph in float32",
        )


@on_a_narrow_cpu
def test_a_runtime_that_computes_with_less_is_refused(artefact, monkeypatch):
    """As it does by default, and as another release might do whatever is asked for."""
    compiled = openvino.Core.compile_model
    monkeypatch.setattr(
        openvino.Core, "compile_model", lambda core, model, device, settings: compiled(core, model, device)
    )
    expected = (
        "OpenVINO computes in bfloat16 on cpu, and float32 was asked for, because with less other tokens are kept; "
        "take the device cpu, or ask for it by name: --option precision=bf16"
    )
    with pytest.raises(UnavailableError, match=re.escape(expected)):
        load(artefact, "openvino")


class Compiled:
    """A compiled model of which only what is asked of it is there."""

    def __init__(self, hint, *chosen):
        self.hint, self.chosen = hint, chosen

    def get_property(self, name):
        return SimpleNamespace(get_type_name=lambda: self.hint)

    def get_runtime_model(self):
        nodes = [{"runtimePrecision": SimpleNamespace(astype=lambda kind, name=name: name)} for name in self.chosen]
        return SimpleNamespace(get_ops=lambda: [SimpleNamespace(get_rt_info=lambda node=node: node) for node in nodes])


def graph_in(*types):
    ports = [
        SimpleNamespace(get_element_type=lambda name=name: SimpleNamespace(get_type_name=lambda: name))
        for name in types
    ]
    return SimpleNamespace(get_ops=lambda: [SimpleNamespace(outputs=lambda: ports)])


@pytest.mark.parametrize(
    ("asked", "hint", "chosen", "written"),
    [
        ("fp32", "f16", ("f32",), ("f32",)),  # an NPU says so
        ("fp32", "f32", ("f32", "bf16"), ("f32",)),  # a hint that is not followed
        ("bf16", "f16", ("f16",), ("f32",)),  # another one than was asked for
    ],
)
def test_what_was_compiled_is_believed_and_not_what_was_asked_for(asked, hint, chosen, written):
    with pytest.raises(UnavailableError, match=r"OpenVINO computes in (float16|bfloat16) on npu, and "):
        room._refuse_narrower(Compiled(hint, *chosen), graph_in(*written), "npu", asked)


@pytest.mark.parametrize(
    ("asked", "hint", "chosen", "written"),
    [
        ("fp32", "f32", ("f32", "i32", "u8"), ("f32",)),
        ("fp32", "f32", ("f32", "bf16"), ("f32", "bf16")),  # an export in bf16: the file itself says so
        ("fp16", "f16", ("f16", "f32"), ("f32",)),
        ("bf16", "f32", ("f32",), ("f32",)),  # a CPU without it
    ],
)
def test_what_is_as_wide_as_was_asked_for_is_taken(asked, hint, chosen, written):
    room._refuse_narrower(Compiled(hint, *chosen), graph_in(*written), "cpu", asked)


def narrow(model, out, precision):
    export(model, out, keep=8, pruner="fastervlm", formats=("openvino",), precision=precision, golden=0, batch=2)


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_a_narrow_export_has_narrow_weights(small_llava, tmp_path, precision):
    narrow(small_llava, tmp_path / "a", precision)
    with load(tmp_path / "a", "openvino") as front_end:
        assert front_end.narrow_weights()[{"fp16": "float16", "bf16": "bfloat16"}[precision]] > 0
        assert front_end.run(PIXELS).kept.shape == (2, 8)


@pytest.mark.parametrize(
    ("activations", "dtype", "computed"),
    [pytest.param("static", "int8", "i8", marks=pytest.mark.whole), ("blocks", "uint8", "u8")],
)
def test_int8_is_computed_in_int8(small_llava, tmp_path, activations, dtype, computed):
    narrow(small_llava, tmp_path / "a", Precision(name="int8", activations=activations, images="shapes", limit=2))
    with load(tmp_path / "a", "openvino") as front_end:
        assert front_end.narrow_weights()[dtype] > 0
        assert computed in computed_in(front_end) or not NARROW


@pytest.mark.parametrize(("block", "width"), [(32, 160), (128, 256), (128, 160)])
def test_int8_in_blocks_rounds_inputs_in_the_blocks_of_the_weights(tmp_path, block, width):
    """As ONNX Runtime does it with the same file; if blocks do not divide the width, OpenVINO rounds weights alone."""
    torch.manual_seed(0)
    layer = torch.nn.Linear(width, 8).requires_grad_(False)
    layer.weight.data[:, :40] *= 30  # so that groups matter
    pixels = torch.randn(4, width) * torch.linspace(0.05, 5, width)
    narrow_layer = BlockInt8Layer(layer, block).requires_grad_(False).eval()
    brief = Brief(
        inputs=(TensorSpec("x", "float32", ("b", width)),),
        outputs=(TensorSpec("y", "float32", ("b", 8)),),
        batch=BatchRange(1, 2, 4),
        identity="blocks",
    )
    found = {}
    for fmt in ("onnx", "openvino"):
        (place := tmp_path / fmt).mkdir()
        with open_built(place, fmt, narrow_layer, brief) as session:
            found[fmt] = session.run({"x": pixels.numpy()})["y"]
    exact, expected = layer(pixels).numpy(), narrow_layer(pixels).numpy()
    rounding = np.abs(expected - exact).max()
    assert np.abs(found["onnx"] - expected).max() < rounding / 20
    if width % block:
        assert np.abs(found["openvino"] - exact).max() < rounding
    else:
        assert np.abs(found["openvino"] - expected).max() < rounding / 20


def test_groups_of_another_size_are_refused(small_llava, tmp_path, monkeypatch):
    """As of a release that does not do what is asked for."""
    narrow(small_llava, tmp_path / "a", Precision(name="int8", activations="blocks", images="shapes", limit=1))
    compiled = openvino.Core.compile_model
    monkeypatch.setattr(
        openvino.Core, "compile_model", lambda core, *given: compiled(core, *given[:2], {**given[2], room.GROUP: "64"})
    )
    with pytest.raises(UnavailableError, match=r"OpenVINO rounds inputs in groups of 64 channels, .* made for 32"):
        load(tmp_path / "a", "openvino")


def test_a_release_that_does_not_know_blocks_is_told(tmp_path, monkeypatch):
    def refuse(*_):
        raise RuntimeError("While validating ONNX node '<Node(MatMulNBits): fc1>': Argument shapes are inconsistent.")

    monkeypatch.setattr(openvino.Core, "read_model", refuse)
    with pytest.raises(
        ExportError, match=r"^OpenVINO \d+\.\d+\.\d+ does not know int8 in blocks; 2025\.4 and newer do$"
    ):
        room.Backend().build(tmp_path / "model.onnx", None, tmp_path, silent)


def test_threads_are_those_that_were_asked_for(artefact):
    with load(artefact, "openvino", threads=1) as front_end:
        assert front_end._session._compiled.get_property("INFERENCE_NUM_THREADS") == 1


def test_an_option_that_is_none_is_one_sentence(artefact):
    with pytest.raises(SpecError, match="precision is 'int8'; it must be one of: fp32, fp16, bf16"):
        load(artefact, "openvino", options={"precision": "int8"})


def test_another_device_is_an_order_too(artefact):
    if "GPU" in openvino.Core().available_devices:
        pytest.skip("there is one")
    with pytest.raises(UnavailableError, match=r"OpenVINO cannot run model\.xml on gpu: .+") as caught:
        load(artefact, "openvino", device="gpu")
    assert "\n" not in str(caught.value)


def test_arrays_stay_on_the_cpu(artefact):
    with load(artefact, "openvino") as front_end, pytest.raises(Exception, match="it must be float32"):
        front_end.run_device(PIXELS.astype(np.float64))


def test_an_old_release_is_one_sentence(monkeypatch):
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "2023.3.0")
    expected = r"openvino 2023\.3\.0 is installed, and 2024\.6 or newer is needed: pip install "
    assert re.match(expected, room.Backend().missing())


def test_the_oldest_release_is_the_one_of_the_extra():
    pyproject = Path(__file__).parent.parent.parent / "pyproject.toml"
    assert f'openvino = ["openvino>={room.OLDEST}"]' in pyproject.read_text()


def test_weights_that_are_cut_off_are_refused(artefact, tmp_path):
    folder, made = tmp_path / "a", open_artefact(artefact)
    shutil.copytree(artefact, folder)
    (folder / "model.bin").write_bytes((folder / "model.bin").read_bytes()[:-1000])
    backend, (build,) = room.Backend(), made.builds("openvino")
    with pytest.raises(ArtefactError, match=r"OpenVINO refuses model\.xml: Incorrect weights in bin file!") as caught:
        backend.open(folder, build, brief_of(made.manifest), "cpu", 1, room.RunOptions())
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_converted_is_one_sentence(artefact, tmp_path):
    brief = brief_of(open_artefact(artefact).manifest)
    (tmp_path / "model.onnx").write_bytes(b"no model")
    with pytest.raises(ExportError, match=r"OpenVINO cannot convert model\.onnx: ") as caught:
        room.Backend().build(tmp_path / "model.onnx", brief, tmp_path, silent)
    assert "\n" not in str(caught.value)


def test_a_full_disk_is_not_taken_for_a_strange_file(artefact, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("basic_ios::clear: iostream error")

    monkeypatch.setattr("openvino.save_model", fail)
    brief = brief_of(open_artefact(artefact).manifest)
    words = r"OpenVINO cannot write model\.xml: .*iostream error \([\d.]+ [GM]B are free there\)"
    with pytest.raises(ArtefactError, match=words):
        room.Backend().build(artefact / "model.onnx", brief, tmp_path, silent)
