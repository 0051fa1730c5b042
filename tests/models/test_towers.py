"""Whole front ends against Transformers' own modules: hidden states, projected tokens, attention; names old and new."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.laws.checkpoints import dinov2, dinov2_with_registers, llava, siglip, siglip_vision_model, vipllava
from vtp_export.errors import ModelError
from vtp_export.graphs.assembly import load_model
from vtp_export.models._towers import TOWERS, interpolated
from vtp_export.models._weights import Weights

TOLERANCE = {"atol": 1e-5, "rtol": 1e-5}
SIGNALS = ("projected", "saliency", "received")

BARE = {
    "siglip": (siglip.siglip, 0),
    "siglip_vision_model": (siglip_vision_model.siglip_vision_model, 0),
    "dinov2": (dinov2.dinov2, 1),
    "dinov2 at another size": (dinov2.dinov2_at_another_size, 1),
    "dinov2, gated": (dinov2.dinov2_gated, 1),
    "dinov2 with registers": (dinov2_with_registers.dinov2_with_registers, 5),
}
"""Writers of checkpoints, and how many tokens stand before the patches."""
JOINED = {
    "llava of siglip": llava.llava_of_siglip,
    "llava of dinov2": llava.llava_of_dinov2,
    "llava of two layers": llava.llava_of_two_layers,
    "llava with CLS": llava.llava_with_cls,
    "vipllava": vipllava.vipllava,
}


def lively(folder):
    """Weights large enough that tokens, and the attention that they pay, differ."""
    file = folder / "model.safetensors"
    generator = torch.Generator().manual_seed(7)
    tensors = {}
    for name, tensor in load_file(file).items():
        noise = torch.randn(tensor.shape, generator=generator)
        around = 1.0 if name.endswith(("norm.weight", "norm1.weight", "norm2.weight", "lambda1")) else 0.0
        fan_in = tensor[0].numel() if tensor.dim() in (2, 4) else 25
        tensors[name] = around + noise * fan_in**-0.5 * (2.0 if "query" in name or "q_proj" in name else 1.0)
    save_file(tensors, file, metadata={"format": "pt"})


def of_transformers(folder):
    from transformers import AutoConfig, AutoModel, AutoModelForImageTextToText

    joined = hasattr(AutoConfig.from_pretrained(folder), "projector_hidden_act")
    loader = AutoModelForImageTextToText if joined else AutoModel
    return loader.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32).eval().requires_grad_(False)


def pixels_for(frontend):
    return torch.randn(2, 3, *frontend.image_size, generator=torch.Generator().manual_seed(3))


def assert_attention(tokens, attention, first, cls):
    """Of a layer's map (b, heads, m, m), of whose tokens `first` are no candidates."""
    mean = attention.mean(1)
    received = mean.mean(1)[:, first:]
    torch.testing.assert_close(tokens.received, received, **TOLERANCE)
    torch.testing.assert_close(tokens.saliency, mean[:, 0, first:] if cls else received, **TOLERANCE)


@pytest.mark.parametrize("name", BARE)
def test_a_bare_tower_gives_the_last_hidden_state_of_transformers(tmp_path, name):
    writer, first = BARE[name]
    writer(tmp_path)
    lively(tmp_path)
    frontend = load_model(tmp_path, SIGNALS).frontend
    pixels = pixels_for(frontend)
    with torch.no_grad():
        model = of_transformers(tmp_path)
        wanted = getattr(model, "vision_model", model)(pixels, output_attentions=True)
        tokens = frontend.encode(pixels, SIGNALS)
    torch.testing.assert_close(tokens.hidden, wanted.last_hidden_state[:, first:], **TOLERANCE)
    torch.testing.assert_close(tokens.projected, tokens.hidden)
    assert_attention(tokens, wanted.attentions[-1], first, cls=first > 0)
    assert frontend.saliency == ("cls" if first else "received")


@pytest.mark.parametrize("name", JOINED)
def test_projected_tokens_are_the_image_features_of_transformers(tmp_path, name):
    JOINED[name](tmp_path)
    lively(tmp_path)
    frontend = load_model(tmp_path, SIGNALS).frontend
    pixels = pixels_for(frontend)
    model = of_transformers(tmp_path)
    with torch.no_grad():
        wanted = model.model.get_image_features(pixels).pooler_output
        attention = model.model.vision_tower(pixels, output_attentions=True).attentions
        tokens = frontend.encode(pixels, SIGNALS)
    wanted = torch.stack(list(wanted))
    torch.testing.assert_close(tokens.projected, wanted, **TOLERANCE)
    cls = frontend.saliency == "cls"
    first = int(cls and not frontend.candidates.cls)
    assert_attention(tokens, attention[len(frontend.blocks) - 1], first, cls)


@pytest.mark.parametrize("prefix", ["", "vision_tower.", "model.vision_tower.", "vision_tower.vision_model."])
def test_a_siglip_tower_is_found_under_its_old_and_its_new_names(tmp_path, prefix):
    llava.llava_of_siglip(tmp_path)
    plain = load_model(tmp_path).core
    file = tmp_path / "model.safetensors"
    tensors = {name.replace("vision_tower.", prefix): tensor for name, tensor in load_file(file).items()}
    if prefix.startswith("model."):
        tensors = {
            name.replace("multi_modal", "model.multi_modal"): tensor
            for name, tensor in tensors.items()
            if "language" not in name
        }
    save_file(tensors, file, metadata={"format": "pt"})
    assert load_model(tmp_path).core.weights_sha256 == plain.weights_sha256


def test_only_the_front_end_is_read(tmp_path, monkeypatch):
    siglip.siglip(tmp_path)
    asked, read = [], Weights.read
    monkeypatch.setattr(Weights, "read", lambda self, wanted: asked.extend(wanted) or read(self, wanted))
    load_model(tmp_path)
    assert asked
    assert not [name for name in asked if "text_model" in name or ".head." in name]


def test_an_image_size_of_its_own_makes_other_weights(tmp_path):
    """Positions are interpolated: a calibration of one size is none of another."""
    name = dinov2.dinov2(tmp_path)
    own = load_model(name)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"size": 42, "crop_size": 42}))
    other = load_model(name)
    assert (own.frontend.image_size, other.frontend.image_size) == ((28, 28), (42, 42))
    assert own.core.weights_sha256 != other.core.weights_sha256


def test_positions_stay_what_they_are_at_their_own_size():
    positions = torch.randn(17, 6, generator=torch.Generator().manual_seed(0))
    assert interpolated(positions, 4, antialias=False) is positions
    assert interpolated(positions, 5, antialias=False).shape == (26, 6)
    assert torch.equal(interpolated(positions, 5, antialias=True)[0], positions[0])
    with pytest.raises(ModelError, match="positions for 15 patches, which are no square"):
        interpolated(positions[:16], 4, antialias=False)


BAD = {
    "image_size": ([28, 35], r"image_size of the vision tower is \[28, 35\]; a square is needed"),
    "mlp_ratio": (-1, "mlp_ratio of the vision tower is -1; a number above 0 and up to 64 is needed"),
    "use_swiglu_ffn": ("yes", "use_swiglu_ffn of the vision tower is 'yes'; true or false is needed"),
    "qkv_bias": (None, "qkv_bias of the vision tower is None; true or false is needed"),
    "num_register_tokens": (0, "num_register_tokens of the vision tower is 0; a whole number from 1 to 64 is needed"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_no_tower_can_have_is_refused(name):
    value, message = BAD[name]
    with pytest.raises(ModelError, match=message):
        TOWERS["dinov2_with_registers"].config({name: value})


@pytest.mark.parametrize("crop", [{"height": 28, "width": 42}, 5])
def test_images_that_such_a_tower_cannot_take_are_refused(tmp_path, crop):
    name = dinov2.dinov2(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"size": 42, "crop_size": crop}))
    with pytest.raises(ModelError, match=r"gives .* pixels; squares of at least 7 are needed"):
        load_model(name)
