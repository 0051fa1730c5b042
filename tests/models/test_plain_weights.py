"""A weight is read only where it is the whole truth: no adapter beside it, not quantised, finite."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.laws.checkpoints.gemma3 import gemma3
from vtp_export.errors import ModelError
from vtp_export.graphs.assembly import load_model, needs_of
from vtp_export.models._weights import SINGLE

LAYER = "vision_tower.encoder.layers.0.self_attn.q_proj"
FIRST = "multi_modal_projector.linear_1"
LANGUAGE = "language_model.model.layers.0.self_attn.q_proj"


@pytest.fixture
def folder(single_llava, tmp_path):
    """A LLaVA in one file, to change."""
    return shutil.copytree(single_llava, tmp_path / "llava")


def edit(path, change):
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


def beside(name, dtype=torch.float32):
    """Put a tensor of that name beside the weights."""
    return lambda tensors: tensors.update({name: torch.ones(2, 2).to(dtype)})


def moved(old, new):
    """Give a weight another name, as those do that wrap its layer."""
    return lambda tensors: tensors.update({new: tensors.pop(old)})


ADAPTED = {
    "old peft": beside(f"{LAYER}.lora_A.default.weight"),
    "peft": moved(f"{LAYER}.weight", f"{LAYER}.base_layer.weight"),
    "of the projector": beside(f"{FIRST}.lora_B.default.weight"),
    "of the projector's bias": beside(f"{FIRST}.lora_magnitude_vector"),
    "saved with it": moved(f"{FIRST}.weight", f"{FIRST}.modules_to_save.default.weight"),
    "a projector saved with it": moved(
        f"{FIRST}.weight", "multi_modal_projector.modules_to_save.default.linear_1.weight"
    ),
    "with peft's prefix": beside(f"base_model.model.{LAYER}.lora_A.weight"),
    "of another kind": beside(f"{LAYER}.hada_w1_a"),
    "of one more kind": beside(f"{LAYER}.vera_lambda_b.default"),
}


@pytest.mark.parametrize("case", ADAPTED)
def test_an_adapter_must_be_merged(folder, case):
    edit(folder / SINGLE, ADAPTED[case])
    with pytest.raises(
        ModelError, match=r"has an adapter \(LoRA\) that was not merged \('.*'\); merge it into its base"
    ):
        load_model(str(folder))


def test_an_adapter_of_the_language_model_does_no_harm(folder):
    before = load_model(str(folder)).core.weights_sha256
    edit(folder / SINGLE, beside(f"{LANGUAGE}.lora_A.default.weight"))
    edit(folder / SINGLE, beside(f"{LANGUAGE}.weight_scale"))
    (folder / "adapter_config.json").write_text("{}")
    save_file({f"base_model.model.{LANGUAGE}.lora_A.weight": torch.ones(1)}, folder / "adapter_model.safetensors")
    assert load_model(str(folder)).core.weights_sha256 == before


@pytest.mark.parametrize(
    "name", [f"base_model.model.{LAYER}.lora_A.weight", f"base_model.model.model.{FIRST}.lora_B.weight"]
)
def test_an_adapter_in_a_file_of_its_own(folder, name):
    (folder / "adapter_config.json").write_text("{}")
    save_file({name: torch.ones(1)}, folder / "adapter_model.safetensors")
    with pytest.raises(ModelError, match=r"has an adapter \(LoRA\) that was not merged \('base_model"):
        load_model(str(folder))


def test_an_adapter_that_cannot_be_looked_into(folder):
    (folder / "adapter_config.json").write_text("{}")
    (folder / "adapter_model.bin").write_bytes(b"\x80")
    with pytest.raises(ModelError, match=r"not merged \('adapter_config\.json'\)"):
        load_model(str(folder))


def test_an_adapter_alone(folder):
    (folder / SINGLE).unlink()
    (folder / "adapter_config.json").write_text("{}")
    with pytest.raises(ModelError, match=r"has no weights but an adapter's \(LoRA\); merge it"):
        load_model(str(folder))
    (folder / "config.json").unlink()
    with pytest.raises(ModelError, match=r"is an adapter \(LoRA\) and no whole model; merge it"):
        load_model(str(folder))


def to(dtype, shape):
    return lambda tensors: tensors.update({f"{FIRST}.weight": torch.ones(shape, dtype=dtype)})


QUANTISED = {
    "bitsandbytes, 4 bits": beside(f"{FIRST}.weight.quant_state.bitsandbytes__nf4", torch.uint8),
    "bitsandbytes, 8 bits": beside(f"{LAYER}.SCB"),
    "gptq": moved(f"{LAYER}.weight", f"{LAYER}.qweight"),
    "compressed tensors": moved(f"{LAYER}.weight", f"{LAYER}.weight_packed"),
    "float8 in blocks": beside(f"{LAYER}.weight_scale_inv"),
    "another shape": to(torch.uint8, (768, 1)),
    "the same shape": to(torch.int8, (48, 32)),
    "float8": to(torch.float8_e4m3fn, (48, 32)),
}


@pytest.mark.parametrize("case", QUANTISED)
def test_quantised_weights_are_called_so(folder, case):
    edit(folder / SINGLE, QUANTISED[case])
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "quantization_config": {"quant_method": "some"}}))
    with pytest.raises(ModelError, match=r"quantised weights are not supported \(its config\.json says 'some'\); name"):
        load_model(str(folder))


def test_a_norm_of_gemma3_is_no_adapter(tmp_path):
    """In whose name stand the letters of one: "oft_"."""
    gemma3(tmp_path)
    plain, norm = load_file(tmp_path / SINGLE), "multi_modal_projector.mm_soft_emb_norm"
    save_file({name: tensor for name, tensor in plain.items() if "vision" not in name}, tmp_path / SINGLE)
    with pytest.raises(ModelError, match="has no SigLIP vision tower"):
        load_model(str(tmp_path))
    save_file({**plain, f"{norm}.weight_scale": torch.ones(1)}, tmp_path / SINGLE)
    with pytest.raises(ModelError, match=rf"has '{norm}\.weight_scale': quantised weights are not supported"):
        load_model(str(tmp_path))


def test_a_quantised_language_model_does_no_harm(folder):
    before = load_model(str(folder)).core.weights_sha256
    edit(folder / SINGLE, moved(f"{LANGUAGE}.weight", f"{LANGUAGE}.qweight"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "quantization_config": {"quant_method": "gptq"}}))
    assert load_model(str(folder)).core.weights_sha256 == before


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("name", [f"{LAYER}.weight", f"{FIRST}.bias", "vision_tower.embeddings.class_embedding"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_weights_are_finite_or_refused(folder, name, value, dtype):
    def spoil(tensors):
        tensors[name] = tensors[name].to(dtype)
        tensors[name].view(-1)[-1] = value

    edit(folder / SINGLE, spoil)
    with pytest.raises(ModelError, match=rf"tensor {name} in model\.safetensors of '.*' holds a NaN or an infinity"):
        load_model(str(folder))


def test_weights_that_float32_cannot_hold_are_refused(folder):
    edit(
        folder / SINGLE,
        lambda tensors: tensors.update({f"{FIRST}.bias": torch.full((48,), 1e300, dtype=torch.float64)}),
    )
    with pytest.raises(ModelError, match=rf"tensor {FIRST}\.bias in model\.safetensors .* holds a NaN or an infinity"):
        load_model(str(folder))


def test_an_empty_weight_is_refused_by_its_shape(folder):
    edit(folder / SINGLE, lambda tensors: tensors.update({f"{FIRST}.bias": torch.ones(0)}))
    with pytest.raises(ModelError, match=r"tensor projector\.linear_1\.bias .* has shape \[0\], but its config"):
        load_model(str(folder))


def test_only_what_is_read_must_be_finite(folder):
    name = "vision_tower.encoder.layers.3.self_attn.k_proj.bias"  # of the layer that only PruMerge reads
    edit(folder / SINGLE, lambda tensors: tensors[name].fill_(float("nan")))
    load_model(str(folder))
    with pytest.raises(ModelError, match=rf"tensor {name} .* NaN"):
        load_model(str(folder), needs_of("prumerge", {}))


ORIGINAL = r"has the layout of the original LLaVA code .*; name the checkpoint that was converted .*llava-hf/llava-1\.5"


def test_the_original_layout_is_named(folder):
    edit(folder / SINGLE, moved(f"{FIRST}.weight", "model.mm_projector.0.weight"))
    with pytest.raises(ModelError, match=ORIGINAL):
        load_model(str(folder))


@pytest.mark.parametrize("kind", ["llava", "llava_llama", "llava_mistral"])
def test_the_original_configuration_is_named(folder, kind):
    shutil.move(folder / SINGLE, folder / "pytorch_model.bin")
    config = {"model_type": kind, "mm_vision_tower": "openai/clip-vit-large-patch14-336", "mm_hidden_size": 1024}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=ORIGINAL):
        load_model(str(folder))
