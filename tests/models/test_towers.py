"""Whole front ends against Transformers' own modules: hidden states, projected tokens, attention; names old and new."""

import inspect
import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.laws.checkpoints import (
    clip,
    clip_vision_model,
    dinov2,
    dinov2_with_registers,
    gemma3,
    idefics3,
    internvl,
    llava,
    paligemma,
    siglip,
    siglip2,
    siglip2_vision_model,
    siglip_vision_model,
    smolvlm,
    vipllava,
)
from vtp_export.errors import ModelError
from vtp_export.graphs.assembly import load_model
from vtp_export.models._config import TowerConfig
from vtp_export.models._tower import Tower
from vtp_export.models._towers import TOWERS, interpolated
from vtp_export.models._weights import INDEX, SINGLE, Weights

SIGNALS = ("projected", "saliency", "received", "early_saliency", "early_received")

WRITERS = {
    "clip": clip.clip,
    "clip_vision_model": clip_vision_model.clip_vision_model,
    "siglip": siglip.siglip,
    "siglip_vision_model": siglip_vision_model.siglip_vision_model,
    "siglip2": siglip2.siglip2,
    "siglip2 at another size": siglip2_vision_model.siglip2_at_another_size,
    "dinov2": dinov2.dinov2,
    "dinov2 at another size": dinov2.dinov2_at_another_size,
    "dinov2, gated": dinov2.dinov2_gated,
    "dinov2 with registers": dinov2_with_registers.dinov2_with_registers,
    "llava": llava.llava,
    "llava of siglip": llava.llava_of_siglip,
    "llava of dinov2": llava.llava_of_dinov2,
    "llava of two layers": llava.llava_of_two_layers,
    "llava with CLS": llava.llava_with_cls,
    "vipllava": vipllava.vipllava,
    "paligemma": paligemma.paligemma,
    "gemma3": gemma3.gemma3,
    "smolvlm": smolvlm.smolvlm,
    "smolvlm of 3 x 3": smolvlm.smolvlm_of_three_by_three,
    "smolvlm of 25 x 25, two of which share a position": lambda folder: smolvlm.smolvlm(
        folder, {**smolvlm.SMOL, "image_size": 100, "patch_size": 4}, scale=5
    ),
    "smolvlm of 27 x 27": lambda folder: smolvlm.smolvlm(
        folder, {**smolvlm.SMOL, "image_size": 110, "patch_size": 4}, scale=3
    ),
    "idefics3": idefics3.idefics3,
    "idefics3 of 26 x 26": lambda folder: idefics3.idefics3(
        folder, {**smolvlm.SMOL, "image_size": 104, "patch_size": 4}
    ),
    "internvl": internvl.internvl,
    "internvl of normed queries": internvl.internvl_of_normed_queries,
    "internvl of an earlier layer": lambda folder: internvl.internvl(folder, vision_feature_layer=-2),
    "internvl with a last norm": lambda folder: internvl.internvl(
        folder, {**internvl.INTERNVIT, "use_mean_pooling": False}
    ),
    "internvl of normed queries and an earlier layer": lambda folder: internvl.internvl(
        folder, {**internvl.INTERNVIT, **internvl.NORMED}, vision_feature_layer=-2
    ),
}

CLIP = {"model_type": "clip_vision_model", "patch_size": 14, "image_size": 112}
SIGLIP = {**CLIP, "model_type": "siglip_vision_model"}
SIGLIP2 = {"model_type": "siglip2_vision_model", "patch_size": 14, "num_patches": 64}
SMOL = {"patch_size": 14, "image_size": 112}
INTERNVIT = {"model_type": "internvl_vision", "patch_size": [14, 14], "image_size": [112, 112]}
DINOV2 = {"model_type": "dinov2", "patch_size": 14, "image_size": 112, "mlp_ratio": 4}
L14 = {"hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16}
SO400M = {"hidden_size": 1152, "intermediate_size": 4304, "num_attention_heads": 16}
GIANT = {"hidden_size": 1536, "num_attention_heads": 24}
VIT_6B = {"hidden_size": 3200, "intermediate_size": 12800, "num_attention_heads": 25}
NARROW = {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4}


def internvl_at_112(folder, vision=INTERNVIT):
    """Its image processor says what size it makes."""
    name = internvl.internvl(folder, vision)
    internvl.tiles(folder, vision["image_size"][0])
    return name


SIZED = {
    "clip": (clip.clip, CLIP, L14, 24),
    "siglip": (siglip.siglip, SIGLIP, SO400M, 27),
    "siglip2": (siglip2.siglip2, SIGLIP2, SO400M, 27),
    "dinov2": (dinov2.dinov2, DINOV2, L14, 24),
    "dinov2, gated": (dinov2.dinov2_gated, DINOV2, GIANT, 40),
    "dinov2 with registers": (dinov2_with_registers.dinov2_with_registers, DINOV2, L14, 24),
    "llava": (llava.llava, CLIP, L14, 24),
    "vipllava": (vipllava.vipllava, CLIP, L14, 24),
    "paligemma": (paligemma.paligemma, SIGLIP, SO400M, 27),
    "gemma3": (gemma3.gemma3, SIGLIP, SO400M, 27),
    "smolvlm": (smolvlm.smolvlm, SMOL, SO400M, 27),
    "idefics3": (idefics3.idefics3, SMOL, SO400M, 27),
    "internvl": (internvl_at_112, INTERNVIT, L14, 24),
    "internvl of 6B": (internvl_at_112, {**INTERNVIT, **internvl.NORMED}, VIT_6B, 45),
}
"""A writer, what its published towers have in common, their full width, and their full depth."""
TWINS = {
    f"{name}, {how}": (writer, {**common, **sizes, "num_hidden_layers": depth})
    for name, (writer, common, wide, deep) in SIZED.items()
    for how, sizes, depth in (("full width", wide, 3), ("full depth", NARROW, deep))
}


NEAR_ONE = (
    "norm.weight",
    "norm1.weight",
    "norm2.weight",
    "before.weight",
    "after.weight",
    "lambda1",
    "lambda_1",
    "lambda_2",
)
"""How the names of weights end that scale channels."""


def lively(folder):
    """Weights large enough that tokens, and the attention that they pay, differ."""
    file = folder / "model.safetensors"
    generator = torch.Generator().manual_seed(7)
    tensors = {}
    for name, tensor in load_file(file).items():
        noise = torch.randn(tensor.shape, generator=generator)
        around = 1.0 if name.endswith(NEAR_ONE) else 0.0
        fan_in = tensor[0].numel() if tensor.dim() in (2, 4) else 25
        tensors[name] = around + noise * fan_in**-0.5 * (2.0 if "query" in name or "q_proj" in name else 1.0)
    save_file(tensors, file, metadata={"format": "pt"})


JOINED = ("llava", "vipllava", "paligemma", "gemma3", "internvl", "smolvlm", "idefics3")


def of_transformers(folder):
    """A model, its vision tower, and whether it has a projector."""
    from transformers import AutoConfig, AutoModel, AutoModelForImageTextToText

    joined = AutoConfig.from_pretrained(folder).model_type in JOINED
    loader = AutoModelForImageTextToText if joined else AutoModel
    model = loader.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32).eval()
    own = model.model if joined else model
    return model, getattr(own, "vision_tower", None) or getattr(own, "vision_model", own), joined


def seen_by(tower, pixels, patch):
    """A tower's outputs; one that takes any resolution is given the patches of its grid, and where they stand."""
    every = {"output_attentions": True, "output_hidden_states": True}
    if "spatial_shapes" not in inspect.signature(tower.forward).parameters:
        return tower(pixels, **every)
    rows, columns = (edge // patch for edge in pixels.shape[-2:])
    cut = pixels.unflatten(3, (columns, patch)).unflatten(2, (rows, patch)).permute(0, 2, 4, 3, 5, 1)
    shapes = torch.tensor([[rows, columns]] * len(pixels))
    mask = torch.ones(len(pixels), rows * columns, dtype=torch.int64)
    return tower(cut.flatten(3).flatten(1, 2), mask, shapes, **every)


def pooled(signal, frontend, side_by_side=False):
    """Of patches, (b, m, .), the mean of those that are one token, (b, n, .), or all of them side by side."""
    (rows, columns), edge = frontend.candidates.grid, frontend.pool
    if edge == 1:
        return signal
    if side_by_side:
        one_by_one = [
            torch.cat(
                [signal[:, (row * edge + y) * columns * edge + column * edge + x] for y, x in np.ndindex(edge, edge)],
                -1,
            )
            for row, column in np.ndindex(rows, columns)
        ]
        return torch.stack(one_by_one, 1)
    square = signal.transpose(1, 2).unflatten(2, (rows * edge, columns * edge))
    return torch.nn.functional.avg_pool2d(square, edge).flatten(2).transpose(1, 2)


def assert_near(made, wanted):
    """Within 1e-5 of the largest entry, and where that is above 1 within 1e-5 and 1e-5 of each."""
    largest = wanted.abs().max().item()
    torch.testing.assert_close(made, wanted, atol=1e-5 * min(1, largest), rtol=1e-5)


def assert_near_at_size(made, wanted):
    """Within 1e-5 of the largest entry."""
    torch.testing.assert_close(made, wanted, atol=1e-5 * wanted.abs().max().item(), rtol=0)


def assert_twin(folder, assert_near):
    """Features, tokens of the language model, and attention, against Transformers' own modules."""
    lively(folder)
    loaded = load_model(folder, SIGNALS)
    frontend = loaded.frontend
    config, has_cls = frontend.tower.config, frontend.saliency == "cls"
    first = 0 if frontend.candidates.cls else config.before
    pixels = torch.randn(2, 3, *frontend.image_size, generator=torch.Generator().manual_seed(3))
    model, tower, joined = of_transformers(folder)
    with torch.no_grad():
        seen = seen_by(tower, pixels, config.patch_size)
        tokens = frontend.encode(pixels, SIGNALS)
        batch = pixels if loaded.preprocessing.filling != "grow" else pixels[:, None]  # one picture each, of one view
        projected = model.model.get_image_features(batch).pooler_output if joined else tokens.hidden
    states = [seen.hidden_states[state] for state in frontend.tower.states]
    if frontend.tower.post_layernorm is not None:
        states = [seen.last_hidden_state]
    last = len(frontend.blocks)
    assert_near(tokens.hidden, pooled(torch.cat(states, -1)[:, first:], frontend, frontend.shuffled))
    assert_near(tokens.projected, torch.stack(list(projected)))

    def read(number):
        """Of the map of a layer: what candidates receive, and what CLS, where there is one, pays to them."""
        attention = seen.attentions[number - 1].mean(1)  # (b, m, m)
        received, paid = (
            pooled(row[:, first:, None], frontend)[..., 0] for row in (attention.mean(1), attention[:, 0])
        )
        return received, paid if has_cls else received

    assert_near(tokens.received, read(last)[0])
    assert_near(tokens.saliency, read(last)[1])
    assert_near(tokens.early_received, read(min(last, round(config.num_hidden_layers * 3 / 8)))[0])
    assert_near(tokens.early_saliency, read(min(last, round(config.num_hidden_layers / 4)))[1])


@pytest.mark.parametrize(
    ("depth", "quarter", "three_eighths"), [(24, 6, 9), (12, 3, 4), (27, 7, 10), (26, 6, 10), (40, 10, 15), (2, 1, 1)]
)
@pytest.mark.parametrize("cls", [True, False])
def test_early_layers_are_those_of_the_releases_in_24_and_as_deep_in_others(depth, quarter, three_eighths, cls):
    sizes = {"hidden_size": 4, "intermediate_size": 4, "num_attention_heads": 1, "image_size": 2, "patch_size": 1}
    tower = Tower(TowerConfig(**sizes, num_hidden_layers=depth, cls=cls), [depth], normed=False, following=False)
    asked = {}
    for number, layer in enumerate(tower.encoder.layers, start=1):
        layer.register_forward_pre_hook(lambda _, given, number=number: asked.update({number: given[1]}))
    tower(torch.zeros(1, 3, 2, 2), ("early_saliency", "early_received"))
    reading = "row" if cls else "received"
    expected = {quarter: (reading,)}
    expected[three_eighths] = (*expected.get(three_eighths, ()), "received")
    assert {number: readings for number, readings in asked.items() if readings} == expected


@pytest.mark.parametrize("name", WRITERS)
def test_a_front_end_is_the_twin_of_transformers(tmp_path, name):
    WRITERS[name](tmp_path)
    assert_twin(tmp_path, assert_near)


@pytest.mark.whole
@pytest.mark.parametrize("name", TWINS)
def test_a_front_end_of_full_size_is_the_twin_of_transformers(tmp_path, name):
    writer, vision = TWINS[name]
    writer(tmp_path, vision)
    assert_twin(tmp_path, assert_near_at_size)


OTHER_PARTS = ("text_model", "language_model", "lm_head", ".head.", "logit", "mask_token", "visual_projection")
"""In the names of what no front end has."""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.whole if name.startswith("internvl") else ()) for name in SIZED]
)
def test_only_the_front_end_is_read_and_other_shards_need_not_be_there(tmp_path, monkeypatch, name):
    """As in a cache of the hub, which holds an index of all shards and those of them that were asked for."""
    SIZED[name][0](tmp_path)
    asked, read = [], Weights.read
    monkeypatch.setattr(Weights, "read", lambda self, wanted: asked.extend(wanted) or read(self, wanted))
    whole = load_model(tmp_path).core
    tensors = load_file(tmp_path / SINGLE)
    assert 0 < len(asked) < len(tensors)
    assert not [one for one in asked if any(part in one for part in OTHER_PARTS)]
    shards = {
        one: f"model-0000{1 + (one in asked) * (1 + place % 2)}-of-00003.safetensors"
        for place, one in enumerate(tensors)
    }
    for shard in {shards[one] for one in asked}:
        held = {one: tensor for one, tensor in tensors.items() if shards[one] == shard}
        save_file(held, tmp_path / shard, metadata={"format": "pt"})
    (tmp_path / SINGLE).unlink()
    (tmp_path / INDEX).write_text(json.dumps({"weight_map": shards}))
    assert load_model(tmp_path).core == whole


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
    with pytest.raises(ModelError, match="positions for 0 patches, which are no square"):
        interpolated(positions[:0], 4, "bicubic", antialias=False)
    with pytest.raises(ModelError, match=r"positions have shape \[\]; one row for each patch is needed"):
        interpolated(positions.sum(), 4, "bicubic", antialias=False)


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
    "OpenAI's CLIP": (clip.clip, "visual.conv1.weight", "CLIP vision tower"),
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
