"""Whole front ends against Transformers' own modules: hidden states, projected tokens, attention; names old and new."""

import inspect
import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.laws.checkpoints import (
    dinov2,
    dinov2_with_registers,
    gemma3,
    llava,
    paligemma,
    siglip,
    siglip2,
    siglip2_vision_model,
    siglip_vision_model,
    vipllava,
)
from vtp_export.errors import ModelError
from vtp_export.graphs.assembly import load_model
from vtp_export.models._towers import TOWERS, interpolated
from vtp_export.models._weights import Weights

TOLERANCE = {"atol": 1e-5, "rtol": 1e-5}
SIGNALS = ("projected", "saliency", "received")

BARE = {
    "siglip": (siglip.siglip, 0),
    "siglip_vision_model": (siglip_vision_model.siglip_vision_model, 0),
    "siglip2": (siglip2.siglip2, 0),
    "siglip2 at another size": (siglip2_vision_model.siglip2_at_another_size, 0),
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
    "paligemma": paligemma.paligemma,
    "gemma3": gemma3.gemma3,
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


def of_transformers(folder, joined):
    from transformers import AutoModel, AutoModelForImageTextToText

    loader = AutoModelForImageTextToText if joined else AutoModel
    return loader.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32).eval().requires_grad_(False)


def run_by_transformers(tower, pixels, patch):
    """A tower's outputs; one that takes any resolution is given the patches of its grid, and where they stand."""
    if "spatial_shapes" not in inspect.signature(tower.forward).parameters:
        return tower(pixels, output_attentions=True)
    rows, columns = (edge // patch for edge in pixels.shape[-2:])
    cut = pixels.unflatten(3, (columns, patch)).unflatten(2, (rows, patch)).permute(0, 2, 4, 3, 5, 1)
    shapes = torch.tensor([[rows, columns]] * len(pixels))
    mask = torch.ones(len(pixels), rows * columns, dtype=torch.int64)
    return tower(cut.flatten(3).flatten(1, 2), mask, shapes, output_attentions=True)


def pooled(signal, frontend):
    """Of patches, (b, m, .), the mean of those that are one token, (b, n, .)."""
    (rows, columns), edge = frontend.candidates.grid, frontend.pool
    square = signal.transpose(1, 2).unflatten(2, (rows * edge, columns * edge))
    return torch.nn.functional.avg_pool2d(square, edge).flatten(2).transpose(1, 2)


def pixels_for(frontend):
    return torch.randn(2, 3, *frontend.image_size, generator=torch.Generator().manual_seed(3))


def assert_attention(frontend, tokens, attention, first, cls):
    """Of a layer's map (b, heads, m, m), of whose tokens `first` are no candidates."""
    mean = attention.mean(1)
    received = mean.mean(1)[:, first:]
    if frontend.pool > 1:
        received = pooled(received[..., None], frontend)[..., 0]
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
        model = of_transformers(tmp_path, joined=False)
        wanted = run_by_transformers(getattr(model, "vision_model", model), pixels, frontend.tower.config.patch_size)
        tokens = frontend.encode(pixels, SIGNALS)
    torch.testing.assert_close(tokens.hidden, wanted.last_hidden_state[:, first:], **TOLERANCE)
    torch.testing.assert_close(tokens.projected, tokens.hidden)
    assert_attention(frontend, tokens, wanted.attentions[-1], first, cls=first > 0)
    assert frontend.saliency == ("cls" if first else "received")


@pytest.mark.parametrize("name", JOINED)
def test_projected_tokens_are_the_image_features_of_transformers(tmp_path, name):
    JOINED[name](tmp_path)
    lively(tmp_path)
    frontend = load_model(tmp_path, SIGNALS).frontend
    pixels = pixels_for(frontend)
    model = of_transformers(tmp_path, joined=True)
    with torch.no_grad():
        wanted = model.model.get_image_features(pixels).pooler_output
        seen = model.model.vision_tower(pixels, output_attentions=True)
        tokens = frontend.encode(pixels, SIGNALS)
    wanted = torch.stack(list(wanted))
    torch.testing.assert_close(tokens.projected, wanted, **TOLERANCE)
    cls = frontend.saliency == "cls"
    first = int(cls and not frontend.candidates.cls)
    assert_attention(frontend, tokens, seen.attentions[len(frontend.blocks) - 1], first, cls)
    if frontend.tower.post_layernorm is not None:
        torch.testing.assert_close(tokens.hidden, pooled(seen.last_hidden_state, frontend), **TOLERANCE)


@pytest.mark.parametrize("writer", [llava.llava_of_siglip, paligemma.paligemma, gemma3.gemma3])
@pytest.mark.parametrize("prefix", ["", "vision_tower.", "model.vision_tower.", "vision_tower.vision_model."])
def test_a_siglip_tower_is_found_under_its_old_and_its_new_names(tmp_path, prefix, writer):
    writer(tmp_path)
    plain = load_model(tmp_path).core
    file = tmp_path / "model.safetensors"
    tensors = {name.removeprefix("model."): tensor for name, tensor in load_file(file).items()}
    tensors = {name.replace("vision_tower.", prefix): tensor for name, tensor in tensors.items()}
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
    positions = torch.randn(16, 6, generator=torch.Generator().manual_seed(0))
    assert interpolated(positions, 4, "bicubic", antialias=False) is positions
    assert interpolated(positions, 5, "bicubic", antialias=False).shape == (25, 6)
    with pytest.raises(ModelError, match="positions for 15 patches, which are no square"):
        interpolated(positions[:15], 4, "bicubic", antialias=False)


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


# What a checkpoint says that cannot be


def told(folder, **entries):
    """Change what `config.json` says."""
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **entries}))


REFUSED = {
    "paligemma of another tower": (
        paligemma.paligemma,
        {"vision_config": {"model_type": "clip_vision_model"}},
        "is 'clip_vision_model'; supported in this model: siglip_vision_model",
    ),
    "gemma3 of another tower": (gemma3.gemma3, {"vision_config": {"model_type": "dinov2"}}, "is 'dinov2'; supported"),
    "no square of tokens": (
        gemma3.gemma3,
        {"mm_tokens_per_image": 15},
        r"mm_tokens_per_image .* is 15, and the tower has 8 x 8 patches; the square of a divisor of 8 is needed",
    ),
    "tokens of parts of patches": (gemma3.gemma3, {"mm_tokens_per_image": 9}, "the square of a divisor of 8 is"),
    "more tokens than patches": (gemma3.gemma3, {"mm_tokens_per_image": 256}, "a whole number from 1 to 64 is needed"),
    "paligemma without a width": (paligemma.paligemma, {"projection_dim": "wide"}, "projection_dim of .* is 'wide'"),
    "paligemma of another width": (
        paligemma.paligemma,
        {"projection_dim": 47},
        r"projector\.0\.bias of .* has shape \[48\], but its config.json asks for \[47\]",
    ),
    "siglip2 without a square": (
        siglip2_vision_model.siglip2_vision_model,
        {"num_patches": 15},
        "num_patches of the vision tower is 15; the square of a whole number is needed",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_config_that_no_such_model_has_is_refused(tmp_path, name):
    writer, entries, message = REFUSED[name]
    writer(tmp_path)
    told(tmp_path, **entries)
    with pytest.raises(ModelError, match=message):
        load_model(tmp_path)


CONTRADICTING = {
    "paligemma": (paligemma.paligemma, {"size": {"height": 35, "width": 35}}, "gives 35 x 35 pixels, and this model"),
    "gemma3": (gemma3.gemma3, {"size": {"height": 28, "width": 28}}, "gives 28 x 28 pixels, and this model needs 56"),
    "pan and scan": (
        gemma3.gemma3,
        {"size": {"height": 56, "width": 56}, "do_pan_and_scan": True},
        "step 'do_pan_and_scan' is not supported",
    ),
    "other patches": (
        siglip2_vision_model.siglip2_vision_model,
        {"image_processor_type": "Siglip2ImageProcessor"},
        "cuts patches of 16 pixels, and the tower takes 7",
    ),
    "no patches": (
        siglip2_vision_model.siglip2_vision_model,
        {"patch_size": 7, "max_num_patches": 0},
        "'max_num_patches' is 0, and a whole number from 1",
    ),
    "siglip": (siglip.siglip, {"size": {"height": 35, "width": 35}}, "gives 35 x 35 pixels, and this model needs 28"),
    "vipllava": (vipllava.vipllava, {"size": 28, "crop_size": 35}, "gives 35 x 35 pixels, and this model needs 28"),
}


@pytest.mark.parametrize("name", CONTRADICTING)
def test_an_image_processor_that_contradicts_the_tower_is_refused(tmp_path, name):
    writer, settings, message = CONTRADICTING[name]
    writer(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    with pytest.raises(ModelError, match=rf"preprocessor_config\.json of .*{message}"):
        load_model(tmp_path)


ORIGINALS = {
    "OpenCLIP's SigLIP": (siglip.siglip, "visual.trunk.patch_embed.proj.weight", "SigLIP vision tower"),
    "Meta's DINOv2": (dinov2.dinov2, "patch_embed.proj.weight", "DINOv2 tower"),
    "Google's Gemma 3": (gemma3.gemma3, "siglip_vision_model.encoder_blocks.0.norm.weight", "SigLIP vision tower"),
    "Google's PaliGemma": (paligemma.paligemma, "img.embedding.kernel", "SigLIP vision tower"),
}
"""A writer of what `config.json` says, and a name of the original's tensors."""


@pytest.mark.parametrize("name", ORIGINALS)
def test_a_checkpoint_of_the_original_layout_is_refused(tmp_path, name):
    writer, tensor, part = ORIGINALS[name]
    writer(tmp_path)
    save_file({tensor: torch.zeros(2)}, tmp_path / "model.safetensors")
    with pytest.raises(ModelError, match=rf"has no {part}: no tensor is named '\.\.\.embeddings"):
        load_model(tmp_path)
