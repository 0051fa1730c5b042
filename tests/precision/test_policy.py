"""Precision is in the graph; a bad one is caught; a coarse one is explained."""

import dataclasses
import math
import re
import shutil

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto
from PIL import Image
from safetensors.torch import load_file, save_file

from tests.formats import FROM_GRAPHS
from tests.sealing import reseal
from vtp_export.backends import base
from vtp_export.backends._translations import translations
from vtp_export.errors import ArtefactError, ModelError, OutputError, SpecError
from vtp_export.graphs.assembly import assemble, load_model, needs_of
from vtp_export.graphs.eager import EagerSession
from vtp_export.parity.gates import GATES, jaccard
from vtp_export.parity.noise import tower_noise
from vtp_export.parity.verdict import Comparison, Values, Worth
from vtp_export.parity.witness import HEADROOM, Noise, Witness, beside
from vtp_export.pipeline.export import export
from vtp_export.pipeline.validate import validate
from vtp_export.precision import policy as module
from vtp_export.precision import search, sensitivity
from vtp_export.precision.images import range_images
from vtp_export.precision.int8 import BlockInt8Layer
from vtp_export.precision.lowering import lowered, weighted_layers
from vtp_export.precision.policy import Precision, lower
from vtp_export.precision.ranges import measured
from vtp_export.precision.search import MARGIN, fewest, shares
from vtp_export.precision.twins import twin_of
from vtp_export.precision_plans import PrecisionPlan
from vtp_export.runtime.artefact import open_artefact
from vtp_export.runtime.changing import write_manifest
from vtp_export.runtime.front_end import load
from vtp_export.spec import PrecisionRecord

SHAPES = {"images": "shapes", "limit": 4}
TOWER = "vision_tower.vision_model.encoder.layers"
FIRST = PrecisionPlan(float32=("frontend.tower.encoder.layers.0",))
"""The first block stays in float32."""


@pytest.fixture(scope="module")
def model(small_llava):
    return load_model(str(small_llava))


@pytest.fixture(scope="module")
def graph(model):
    return assemble(model, "adaptive", {"keep": 8}).graph


@pytest.fixture
def pixels():
    return torch.randn(4, 3, 42, 42, generator=torch.Generator().manual_seed(0))


def planted(source, folder, factors):
    """A copy of a checkpoint with some tensors scaled."""
    shutil.copytree(source, folder)
    tensors = load_file(source / "model.safetensors")
    for name, factor in factors.items():
        tensors[name] = tensors[name] * factor
    save_file(tensors, folder / "model.safetensors")
    return str(folder)


def exported(model, out, formats="onnx", **precision):
    return export(model, out, keep=8, formats=formats, precision=Precision(**precision))


# --- half precision -------------------------------------------------------------------------------------------------


def test_norms_and_softmax_of_the_onnx_file_are_float32_and_products_are_half(small_llava, tmp_path):
    exported(small_llava, tmp_path / "out", name="fp16", **SHAPES)
    file = onnx.shape_inference.infer_shapes(onnx.load(tmp_path / "out" / "model.onnx"))
    known = {value.name: value.type.tensor_type.elem_type for value in file.graph.value_info}
    kinds = {kind: {known[node.input[0]] for node in file.graph.node if node.op_type == kind and node.input[0] in known}
             for kind in ("Softmax", "LayerNormalization", "Sigmoid", "Gelu", "ReduceSum")}  # fmt: skip
    assert all(found <= {TensorProto.FLOAT} for found in kinds.values())
    assert kinds["Softmax"] and kinds["LayerNormalization"]
    weights = {w.name: w.data_type for w in file.graph.initializer if len(w.dims) == 2 and min(w.dims) >= 32}
    products = [node for node in file.graph.node if node.op_type == "MatMul" and set(node.input) & set(weights)]
    assert {weights[name] for node in products for name in node.input if name in weights} == {TensorProto.FLOAT16}
    assert open_artefact(tmp_path / "out").manifest.outputs[0].dtype == "float16"
    with load(tmp_path / "out") as front_end:
        output = front_end(np.zeros((42, 42, 3), dtype=np.uint8))
    assert {output.tokens.dtype.name, output[0].tokens.dtype.name} == {"float16"}  # as `Output` says of it


@pytest.mark.parametrize("name", [pytest.param("fp16", marks=pytest.mark.whole), "bf16"])
def test_every_format_keeps_what_the_twin_keeps(small_llava, tmp_path, name):
    # ONNX Runtime has no bf16 on a CPU.
    formats = tuple(fmt for fmt in FROM_GRAPHS if (name, fmt) != ("bf16", "onnx"))
    precision = Precision(name=name, **SHAPES) if name == "fp16" else Precision(name=name)
    export(str(small_llava), tmp_path / "out", keep=8, formats=formats, precision=precision)
    result = validate(tmp_path / "out", benchmark="shapes", limit=12)
    assert result.passed, [comparison.failures for comparison in result.comparisons]
    assert [comparison.name for comparison in result.comparisons[1:]] == [
        f"{fmt} against graph in fp32, as {name}" for fmt in formats
    ]
    # Rounded, and not by chance the float32 graph under another name.
    assert all(comparison.values.relative_error > 1e-6 for comparison in result.comparisons[1:])


def test_layers_near_overflow_are_named_and_stay_in_float32(small_llava, tmp_path):
    model = planted(small_llava, tmp_path / "model", {f"{TOWER}.1.mlp.fc2.weight": 1e5})
    report = exported(model, tmp_path / "out", "torchscript", name="fp16", **SHAPES)
    wide = report.manifest.precision.float32_layers
    assert "frontend.tower.encoder.layers.1.mlp.fc2" in wide
    assert "frontend.projector.linear_1" in wide, "it reads what that layer returns"
    assert "frontend.tower.encoder.layers.0.mlp.fc2" not in wide
    assert any("layers.1.mlp.fc2 stays in float32: its numbers reach" in note for note in report.notes)
    result = validate(tmp_path / "out", benchmark="shapes", limit=8)
    assert result.passed, [comparison.failures for comparison in result.comparisons]


def test_a_layer_whose_output_alone_is_too_large_is_found(small_llava, tmp_path):
    name = f"{TOWER}.1.mlp.fc2.weight"
    model = load_model(planted(small_llava, tmp_path / "model", {name: 2e4}))
    graph = assemble(model, "adaptive", {"keep": 8}).graph
    layer = "frontend.tower.encoder.layers.1.mlp.fc2"
    limit = torch.finfo(torch.float16).max / module.SAFETY_FACTOR
    assert float(graph.get_submodule(layer).weight.abs().max()) < limit
    assert layer in lower(graph, Precision(name="fp16", **SHAPES), model.preprocessing).record.float32_layers


def test_a_planted_overflow_fails_validation(small_llava, tmp_path, monkeypatch):
    model = planted(small_llava, tmp_path / "model", {f"{TOWER}.1.mlp.fc2.weight": 1e5})
    monkeypatch.setattr(module, "SAFETY_FACTOR", 1e-9)  # a scan that lets everything pass
    report = exported(model, tmp_path / "out", "torchscript", name="fp16", **SHAPES)
    assert report.manifest.precision.float32_layers == ()
    result = validate(tmp_path / "out", benchmark="shapes", limit=4)
    assert not result.passed
    assert "scene-0000: 'tokens' holds a NaN or an infinity" in result.comparisons[1].failures
    assert open_artefact(tmp_path / "out").manifest.validation["torchscript"]["passed"] is False


def test_logits_that_overflow_take_all_of_attention_to_float32(small_llava, tmp_path):
    own = f"{TOWER}.0.self_attn"
    model = load_model(planted(small_llava, tmp_path / "m", {f"{own}.q_proj.weight": 60, f"{own}.k_proj.weight": 60}))
    graph = assemble(model, "adaptive", {"keep": 8}).graph
    found = lower(graph, Precision(name="fp16", **SHAPES), model.preprocessing)
    attention = {f"frontend.tower.encoder.layers.0.self_attn.{which}_proj" for which in "qkv"}
    assert set(found.record.float32_layers) == attention


def test_the_bound_on_the_logits_holds_and_is_not_idle(graph, pixels):
    found = measured(graph, [pixels.numpy()])
    attention, seen = graph.frontend.tower.encoder.layers[0].self_attn, []
    handle = attention.register_forward_hook(lambda own, given, _: seen.append(given[0]))
    with torch.inference_mode():
        graph(pixels)
    handle.remove()
    query, key = attention._split(attention.q_proj(seen[0])), attention._split(attention.k_proj(seen[0]))
    largest = float((query @ key.transpose(-1, -2) * attention.head_width**-0.5).abs().max())
    bound = found["frontend.tower.encoder.layers.0.self_attn.q_proj"].returns
    assert largest <= bound <= 4 * largest


def test_the_float32_graph_is_left_as_it_was(graph, pixels):
    before = {name: tensor.clone() for name, tensor in graph.state_dict().items()}
    narrow = lowered(graph, PrecisionRecord(name="fp16", tokens_dtype="float16"))
    with torch.inference_mode():
        assert narrow(pixels)[0].dtype == torch.float16
        assert graph(pixels)[0].dtype == torch.float32
    assert all(torch.equal(before[name], tensor) for name, tensor in graph.state_dict().items())
    norm = "frontend.tower.pre_layrnorm.weight"
    assert narrow.state_dict()[norm].data_ptr() == graph.state_dict()[norm].data_ptr(), "what is not narrowed is shared"


@pytest.fixture
def dull_then_bright(tmp_path):
    """Sixteen dull photos, and by name after them four bright ones."""
    for i in range(20):
        shade = 100 if i < 16 else 255
        Image.new("RGB", (50, 50), (shade, shade // 2, i)).save(tmp_path / f"{i:02d}.png")
    return tmp_path


def test_the_scan_looks_everywhere_in_the_folder_and_says_how_far(graph, model, dull_then_bright):
    found = lower(graph, Precision(name="fp16", images=str(dull_then_bright)), model.preprocessing)
    assert found.record.count == 16
    assert f"measured on 16 of 20 images of {dull_then_bright}, spread over all" in found.notes[-1]
    images = range_images(str(dull_then_bright), 16, model.preprocessing)
    assert len([name for name in images.names if name >= "16"]) == 3
    assert (images.count, images.total, len(set(images.names))) == (16, 20, 16)
    whole = lower(graph, Precision(name="fp16", images=str(dull_then_bright), limit=20), model.preprocessing)
    assert (whole.record.count, whole.notes) == (20, ())


@pytest.mark.parametrize(("pruner", "precision", "told"), [("bat", "bf16", True), ("vscan", "fp16", False),
                         ("vscan", "int8", True), ("fps", "bf16", False)])  # fmt: skip
def test_who_mixes_tokens_in_a_coarse_precision_is_told(small_llava, pruner, precision, told):
    model = load_model(str(small_llava), needs_of(pruner, settings := {"keep": 8}))
    plan = {"activations": "blocks", "plan": "narrow"} if precision == "int8" else {}
    seen = {} if precision == "bf16" else {"images": "shapes", "limit": 1}
    spec = Precision(name=precision, **plan, **seen)
    notes = lower(assemble(model, pruner, settings).graph, spec, model.preprocessing).notes
    assert any("mixes others" in note for note in notes) is told


@pytest.mark.parametrize("name", ["fp32", "bf16"])
def test_range_images_that_nobody_reads_are_told(graph, model, name):
    unread = f"range images are for fp16 and int8; none were read for {name}"
    for asked, notes in (({}, ()), ({"images": "shapes"}, (unread,)), ({"limit": 3}, (unread,))):
        assert lower(graph, Precision(name=name, **asked), model.preprocessing).notes == notes


@pytest.mark.parametrize(("count", "names"), [(1, ["10"]), (4, ["02", "07", "12", "17"]), (99, None), (None, None)])
def test_images_are_spread_evenly(model, dull_then_bright, count, names):
    images = range_images(str(dull_then_bright), count, model.preprocessing)
    every = [f"{i:02d}" for i in range(20)]
    assert [name.removesuffix(".png") for name in images.names] == (names or every)


def test_range_images_that_change_while_they_are_read_are_told(model, dull_then_bright):
    images = range_images(str(dull_then_bright), 4, model.preprocessing)
    assert sum(map(len, images.batches())) == 4
    Image.new("RGB", (50, 50)).save(dull_then_bright / images.names[1])
    with pytest.raises(SpecError, match="were changed while they were in use"):
        list(images.batches())


@pytest.mark.parametrize("spec", [{"name": "fp16"}, {"name": "int8", "plan": PrecisionPlan()}])
def test_a_picture_on_which_float32_itself_overflows_is_named(small_llava, tmp_path, dull_then_bright, spec):
    model = load_model(planted(small_llava, tmp_path / "m", {f"{TOWER}.1.mlp.fc2.weight": 1e38}))
    graph = assemble(model, "adaptive", {"keep": 8}).graph
    with pytest.raises(OutputError, match=r"'tokens' of '00\.png' and of 3 more is not finite"):
        lower(graph, Precision(images=str(dull_then_bright), **spec), model.preprocessing)


def test_a_layer_that_is_not_finite_is_named_whatever_comes_after(graph, pixels, monkeypatch):
    layer = graph.get_submodule("frontend.tower.encoder.layers.0.mlp.fc1")
    with monkeypatch.context() as patched:
        patched.setattr(layer, "forward", lambda x: torch.nn.functional.linear(x, layer.weight, layer.bias) * 1e39)
        after = graph.get_submodule("frontend.tower.encoder.layers.0.mlp.fc2")
        patched.setattr(after, "forward", lambda x: torch.zeros(*x.shape[:-1], after.out_features))
        with pytest.raises(ModelError, match=r"layers\.0\.mlp\.fc1 reads or returns numbers that are not finite"):
            measured(graph, [pixels.numpy()])


# --- int8 -----------------------------------------------------------------------------------------------------------


@pytest.mark.whole
@pytest.mark.parametrize("activations", ["blocks", "static"])
def test_int8_keeps_what_its_twin_keeps(small_llava, tmp_path, activations):
    report = exported(small_llava, tmp_path / "out", name="int8", activations=activations, plan=FIRST, **SHAPES)
    assert len(report.manifest.precision.float32_layers) == 6
    assert all(name.startswith("frontend.tower.encoder.layers.0.") for name in report.manifest.precision.float32_layers)
    assert "int8: 6 of 14 layers stay in float32; on 4 images of shapes: mass" in " ".join(report.notes)
    kinds = [node.op_type for node in onnx.load(tmp_path / "out" / "model.onnx").graph.node]
    assert ("MatMulNBits" in kinds, "QuantizeLinear" in kinds) == (activations == "blocks", activations == "static")
    (compared,) = validate(tmp_path / "out", benchmark="shapes", limit=12).comparisons[1:]
    assert all(difference.witness is not None for difference in compared.differences)
    assert 1e-3 < compared.values.relative_error < 0.2


def test_a_layer_that_nothing_passes_through_is_no_trouble(small_llava, tmp_path):
    """PruMerge's layer after the last one, where a budget of all tokens leaves it unread."""
    precision = Precision(name="int8", activations="static", images="shapes", limit=2)
    report = export(small_llava, tmp_path / "a", pruner="prumerge", keep=36, precision=precision, golden=0)
    assert report.manifest.pruner.name == "none"
    initializers = onnx.load(tmp_path / "a" / "model.onnx").graph.initializer
    assert initializers and not any("following" in tensor.name for tensor in initializers)


def test_images_are_run_where_it_was_asked_for(graph, model, monkeypatch):
    """The device goes to every session; ranges come back to the CPU, where the graph is narrowed."""
    devices, trials = [], []

    def session(asked):
        class Session(EagerSession):
            def __init__(self, graph, device):
                asked.append(device)
                super().__init__(graph)

        return Session

    monkeypatch.setattr(module, "EagerSession", session(devices))
    monkeypatch.setattr(search, "EagerSession", session(trials))
    monkeypatch.setattr(sensitivity, "EagerSession", session(trials))
    spec = Precision(name="int8", activations="static", plan=PrecisionPlan(), images="shapes", limit=4)
    lower(graph, spec, model.preprocessing, "cuda")
    assert devices == ["cuda"]  # ranges
    assert trials == ["cuda"] * 3  # what float32 keeps; both graphs that any mixture of them is made of


def test_static_int8_refuses_other_range_images(graph, model, tmp_path):
    generator = np.random.default_rng(0)
    for i in range(2):
        Image.fromarray(generator.integers(0, 255, (50, 50, 3), dtype=np.uint8)).save(tmp_path / f"{i}.png")
    spec = Precision(name="int8", activations="static", images=str(tmp_path), plan=PrecisionPlan())
    found = lower(graph, spec, model.preprocessing)
    same = twin_of(graph, found.record, model.preprocessing)
    assert all(
        torch.equal(a, b) for a, b in zip(same.state_dict().values(), found.graph.state_dict().values(), strict=True)
    )
    Image.fromarray(generator.integers(0, 255, (50, 50, 3), dtype=np.uint8)).save(tmp_path / "1.png")
    with pytest.raises(ArtefactError, match="are not those of the export"):
        twin_of(graph, found.record, model.preprocessing)


@pytest.mark.parametrize(("holds", "most", "expected"), [
    ([True], 1, 1), ([False, False, True], 2, 2), ([False, True, True, True, True], 4, 1),
    ([False, False, False, True, True], 4, 3), ([False, False, False], 2, 2),
])  # fmt: skip
def test_the_fewest_that_it_takes(holds, most, expected):
    assert fewest(holds.__getitem__, most) == expected


def test_a_twin_in_blocks_computes_what_onnx_runtime_does(tmp_path):
    """Whatever stands beside it in the batch, and with a channel and a token of unusual size."""
    torch.manual_seed(0)
    for channels, block in ((48, 32), (100, 32), (128, 128)):
        layer = torch.nn.Linear(channels, 40)
        twin = BlockInt8Layer(layer.requires_grad_(False), block).eval()
        x = torch.randn(3, 5, channels, generator=torch.Generator().manual_seed(channels))
        x[:, :, 3] *= 30
        x[1, 2] *= 20
        file = tmp_path / "one.onnx"
        torch.onnx.export(twin, (x,), file, dynamo=True, custom_translation_table=translations(), optimize=False)
        session = onnxruntime.InferenceSession(file)
        (made,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
        torch.testing.assert_close(torch.from_numpy(made), twin(x), rtol=0, atol=2e-6 * float(x.abs().max()))
        torch.testing.assert_close(twin(x[1:2]), twin(x)[1:2], rtol=0, atol=1e-4)
        # Half a step of each input and of each weight, and no more.
        sizes = torch.nn.functional.pad(x, (0, -channels % block)).unflatten(-1, (-1, block)).abs().amax(-1)
        halves = (sizes / 254).repeat_interleave(block, -1)[..., :channels]
        steps = (twin.step / 2).repeat_interleave(block, 1)[:, :channels]
        most = halves @ layer.weight.abs().T + (x.abs() + halves) @ steps.T
        error = (twin(x) - layer(x)).abs()
        assert (error <= most * 1.001).all() and error.max() > most.max() / 100


def test_a_share_of_every_gate_is_told_and_1_is_all_of_it():
    """What fails a gate has used up more than all of it, and what passes no more, number by number."""
    gates = dataclasses.replace(GATES["int8"], jaccard=0.8)
    exact = Values(1.0, 1.0, 1.0, 0.0)
    best = Comparison(
        name="",
        images=1,
        identical=1,
        jaccard_mean=1.0,
        noise=Noise({}),
        differences=(),
        values=exact,
        erank_error=0.0,
        attention_entropy_error=0.0,
        worth=(Worth("mass", 1.0, 1.0, ""),),
        gates=gates,
    )
    assert set(shares(best).values()) == {0.0}
    half = {
        "worth": {"worth": (Worth("mass", 0.99, 1.0, ""),)},
        "worth_worst": {"worth": (Worth("mass", 1.0, 0.95, ""),)},
        "jaccard": {"jaccard_mean": 0.9},
        "cosine": {"values": dataclasses.replace(exact, cosine_min=0.995)},
        "norm_ratio": {"values": dataclasses.replace(exact, norm_ratio_max=1.025)},
        "relative_error": {"values": dataclasses.replace(exact, relative_error=0.1)},
        "erank": {"erank_error": 0.05},
        "entropy": {"attention_entropy_error": 0.025},
    }
    assert (
        half.keys()
        == shares(best).keys()
        == {field.name for field in dataclasses.fields(gates)} - {"explained", "answers"}
    )
    for name, change in half.items():
        used = shares(dataclasses.replace(best, **change))
        assert used.pop(name) == pytest.approx(MARGIN)
        assert set(used.values()) == {0.0}
    shorter = dataclasses.replace(best, values=dataclasses.replace(exact, norm_ratio_min=0.94))
    assert shares(shorter)["norm_ratio"] == pytest.approx(1.2) and shorter.shortfalls
    lost = dataclasses.replace(best, values=dataclasses.replace(exact, cosine_min=math.nan))
    assert shares(lost)["cosine"] == search.LARGEST
    unasked = dataclasses.replace(best, jaccard_mean=0.1, gates=dataclasses.replace(gates, jaccard=0.0))
    assert "jaccard" not in shares(unasked)


def test_weights_that_int8_cannot_hold_are_never_silently_scaled_away():
    from vtp_export.precision.int8 import quantised

    weight = torch.randn(5, 7, generator=torch.Generator().manual_seed(1))
    whole, step = quantised(weight)
    assert (whole.T * step[:, None] - weight).abs().amax() <= step.max() / 2 * 1.0001
    assert whole.abs().amax(0).tolist() == [127] * 5


LIES = {
    "fp16": (
        Precision(name="fp16", **SHAPES),
        {"float32_layers": ("frontend.tower.encoder.layers.0.mlp.fc1",)},
        r"onnx holds \d+ weights in float16, and by the manifest it would hold \d+ weights in float16",
    ),
    "int8": (
        Precision(name="int8", plan=FIRST, **SHAPES),
        {"float32_layers": ()},
        r"onnx holds \d+ weights in uint8",
    ),
    "fp32": (
        Precision(),
        {"name": "bf16"},
        r"torchscript holds all weights in float32, and by the manifest it would hold \d+ weights in bfloat16",
    ),
}


@pytest.mark.parametrize("name", ["fp32", *(pytest.param(name, marks=pytest.mark.whole) for name in ("fp16", "int8"))])
def test_a_precision_that_is_not_that_of_the_file_fails(small_llava, tmp_path, monkeypatch, name):
    precision, lie, words = LIES[name]
    folder = tmp_path / "out"
    # A float32 file that is said to be bf16 must run all the same to be found out.
    formats = "torchscript" if lie.get("name") == "bf16" else "onnx"
    export(str(small_llava), folder, keep=8, precision=precision, formats=formats)
    assert not validate(folder, benchmark="shapes", limit=1).false_claims
    manifest = open_artefact(folder).manifest
    write_manifest(folder, dataclasses.replace(manifest, precision=dataclasses.replace(manifest.precision, **lie)))
    monkeypatch.setattr(base, "refuse_other_identity", lambda *_: None)
    claims = validate(folder, benchmark="shapes", limit=1).false_claims
    (claim,) = [claim for claim in claims if claim.startswith("precision: ")]
    assert re.match(f"precision: {words}", claim), claim


# --- explanations ---------------------------------------------------------------------------------------------------


def test_the_noise_of_a_coarser_precision_is_larger(graph, pixels):
    eager, pixels = EagerSession(graph), pixels.numpy()
    twins = [EagerSession(lowered(graph, PrecisionRecord(name=name))) for name in ("fp16", "bf16")]
    signals = eager.signals(pixels)
    noises = [tower_noise(eager, pixels, signals, twin) for twin in (None, *twins)]
    for signal in ("hidden", "projected", "saliency"):
        fp32, fp16, int8 = (noise.sizes[signal] for noise in noises)
        assert fp32 < fp16 < int8


def test_a_witness_beside_the_twin_counts_the_way_to_the_twin():
    def both(saliency, projected):
        return Noise({"saliency": saliency, "projected": projected})

    still = Witness(0.0, both(0.0, 0.0))
    assert beside(still, both(0.5, 2.0), both(1.0, 1.0)) == Witness(2.0 / HEADROOM, both(0.5, 2.0))
    found = Witness(0.5, both(2.0, 2.0))
    assert beside(found, both(0.0, 1.0), both(1.0, 1.0)) == Witness(3.0 / HEADROOM, both(2.0, 3.0))
    assert beside(still, both(0.0, 4.01), both(1.0, 1.0)) is None
    assert beside(still, both(0.1, 0.0), both(0.0, 1.0)) is None
    assert beside(still, both(math.nan, 0.0), both(1.0, 1.0)) is None


@pytest.mark.whole
def test_an_artefact_of_another_pruner_does_not_pass_as_noise(small_llava, tmp_path, monkeypatch):
    """Int8 is so coarse here that nearly any choice is within its noise; what a choice is worth still tells."""
    folder = tmp_path / "out"
    exported(small_llava, folder, name="int8", plan=PrecisionPlan(), **SHAPES)
    other = export(str(small_llava), tmp_path / "other", pruner="random", keep=8)
    shutil.copy(tmp_path / "other" / "model.onnx", folder / "model.onnx")

    def forge(manifest):
        manifest["builds"] = [dataclasses.asdict(build) for build in other.manifest.builds]
        manifest["outputs"] = manifest["outputs"][:3]

    reseal(folder / "manifest.json", forge)
    with pytest.raises(ArtefactError, match=r"model\.onnx was made for another manifest"):
        validate(folder, benchmark="shapes", limit=4)
    monkeypatch.setattr(base, "refuse_other_identity", lambda *_: None)  # as if it had been forged
    compared = validate(folder, benchmark="shapes", limit=4).comparisons[1]
    assert compared.identical == 0
    assert any("mass of the kept sets over the reference's, mean, is" in failure for failure in compared.failures)


def test_no_share_of_tokens_is_asked_of_a_chaotic_method(small_llava, tmp_path):
    for pruner, asked in (("vispruner", 0.0), ("fastervlm", 0.98)):
        precision = Precision(name="fp16", **SHAPES)
        out = tmp_path / pruner
        export(str(small_llava), out, pruner=pruner, keep=8, formats=("torchscript",), precision=precision)
        assert validate(out, benchmark="shapes", limit=1).comparisons[1].gates.jaccard == asked


def test_jaccard_leaves_empty_slots_out():
    assert jaccard(np.array([1, 2, -1]), np.array([1, 2, 3])) == pytest.approx(2 / 3)


def test_gates_grow_with_the_noise():
    order = [GATES[name] for name in ("fp32", "fp16", "bf16")]
    for field in dataclasses.fields(order[0]):
        values = [getattr(gates, field.name) for gates in order]
        if field.name not in ("jaccard", "worth", "worth_worst"):  # of float32 none: differences are explained or fail
            assert values in (sorted(values), sorted(values, reverse=True))


# --- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("precision", "formats", "message"), [
    ({"name": "fp16", "limit": 0}, ("onnx",), "0 range images were asked for; at least 1 is needed"),
    ({"name": "fp8"}, ("onnx",), "precision is 'fp8'; it must be one of: fp32, fp16, bf16, int8"),
    ({"name": "fp16", "activations": "static"}, ("onnx",), "are settings of int8, and the precision is fp16"),
    ({"name": "int8", "block": 64}, ("onnx",), "block is 64; it must be one of: 32, 128"),
    ({"name": "int8", "block": 32, "activations": "static"}, ("onnx",), "a setting of int8 in blocks"),
    ({"name": "int8", "activations": "none"}, ("onnx",), "it must be one of: blocks, static"),
    ({"name": "fp16", "plan": PrecisionPlan()}, ("onnx",), "plan are settings of int8, and the precision is fp16"),
    ({"name": "int8"}, ("onnx", "pt2"), "int8 cannot be built for pt2; formats that can: onnx"),
])  # fmt: skip
def test_what_is_refused(small_llava, tmp_path, precision, formats, message):
    def attempt():
        spec = Precision(**{**SHAPES, **precision})
        export(str(small_llava), tmp_path / "out", keep=8, formats=formats, precision=spec)

    with pytest.raises(SpecError, match=message):
        attempt()
    assert not (tmp_path / "out").exists()


def test_all_weighted_layers_of_the_tower_are_found(graph):
    # A patch embedding, six layers in each of two blocks, and a projector of two.
    assert len(weighted_layers(graph)) == 1 + 2 * 6 + 2
