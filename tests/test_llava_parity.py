"""Our front end is Transformers' front end, layer for layer."""

import numpy as np
import pytest
import torch
from transformers import CLIPVisionConfig, CLIPVisionModel, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

from vtp_export.errors import ModelError
from vtp_export.pipeline.assemble import load_model

VISION = CLIPVisionConfig(
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=4,
    num_attention_heads=2,
    image_size=42,
    patch_size=7,
)
TEXT = LlamaConfig(hidden_size=48, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2, vocab_size=64)


def made(folder, **options):
    torch.manual_seed(0)
    model = LlavaForConditionalGeneration(
        LlavaConfig(vision_config=VISION, text_config=TEXT, image_token_index=5, **options)
    ).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.2)
    model.set_attn_implementation("eager")  # the fused path returns no attention
    model.save_pretrained(folder, max_shard_size="40KB")
    return model


@pytest.mark.parametrize("layer", [-2, -1, 2, [-2, -3]])
@pytest.mark.parametrize("strategy", ["default", "full"])
def test_features_and_saliency_equal_transformers(tmp_path, layer, strategy):
    model = made(tmp_path, vision_feature_layer=layer, vision_feature_select_strategy=strategy)
    pixels = torch.randn(2, 3, 42, 42, generator=torch.Generator().manual_seed(1))
    frontend = load_model(str(tmp_path)).frontend
    assert frontend.cls_candidate == (strategy == "full")
    with torch.no_grad():
        ours = frontend.encode(pixels, ("projected", "saliency"))
        tower = model.model.vision_tower(pixels, output_hidden_states=True, output_attentions=True)
        first = 0 if strategy == "full" else 1
        layers = layer if isinstance(layer, list) else [layer]
        hidden = torch.cat([tower.hidden_states[i][:, first:] for i in layers], -1)
        projected = model.model.multi_modal_projector(hidden)
        total = VISION.num_hidden_layers
        deepest = max(i + total + 1 if i < 0 else i for i in layers)
        row = tower.attentions[deepest - 1].mean(1)[:, 0, first:]
    assert torch.allclose(ours.hidden, hidden, atol=1e-4 * float(hidden.abs().max()))
    assert torch.allclose(ours.projected, projected, atol=1e-4 * float(projected.abs().max()))
    assert torch.allclose(ours.saliency, row, atol=1e-6)


def test_a_bare_tower(tmp_path):
    torch.manual_seed(0)
    tower = CLIPVisionModel(VISION).eval()
    tower.save_pretrained(tmp_path)
    pixels = torch.randn(1, 3, 42, 42)
    with torch.no_grad():
        expected = tower(pixels, output_hidden_states=True).hidden_states[-2][:, 1:]
        assert torch.allclose(load_model(str(tmp_path)).frontend.encode(pixels, ()).hidden, expected, atol=1e-5)


def test_half_precision_weights_are_widened(tmp_path):
    model = made(tmp_path / "wide")
    model.half().save_pretrained(tmp_path / "half")
    loaded = load_model(str(tmp_path / "half"))
    assert {parameter.dtype for parameter in loaded.module.parameters()} == {torch.float32}
    assert loaded.record.weights_bytes * 2 == load_model(str(tmp_path / "wide")).record.weights_bytes


def test_layers_past_the_select_layer_do_not_exist(tiny_llava):
    names = load_model(str(tiny_llava)).module.state_dict()
    assert any("layers.1." in name for name in names)
    assert not any("layers.2." in name or "post_layernorm" in name for name in names)


def test_the_language_model_is_never_read(tmp_path):
    """Its shards may be absent altogether."""
    import json

    made(tmp_path)
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())["weight_map"]
    ours = {file for name, file in index.items() if "vision_tower" in name or "multi_modal_projector" in name}
    for file in set(index.values()) - ours:
        (tmp_path / file).unlink()
    assert set(index.values()) - ours
    assert load_model(str(tmp_path)).record.family == "llava"


def test_the_hub_is_asked_for_the_needed_shards_only(tmp_path, monkeypatch):
    import json

    import huggingface_hub
    from huggingface_hub.errors import EntryNotFoundError

    folder = tmp_path / "snapshots" / "abc123"
    made(folder)
    asked = []

    def download(repository, name, revision=None):
        asked.append(name)
        if not (folder / name).is_file():
            raise EntryNotFoundError(name)
        return str(folder / name)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    record = load_model("someone/llava", "main").record
    assert (record.id, record.revision) == ("someone/llava", "abc123")
    index = json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"]
    theirs = {file for name, file in index.items() if "language_model" in name or "lm_head" in name}
    ours = {file for name, file in index.items() if "vision_tower" in name or "multi_modal" in name}
    assert not (theirs - ours) & set(asked)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes()[:-100]), "truncated"),
        (lambda f: (f / "model.safetensors").write_bytes(b"garbage" * 9), "truncated or damaged"),
        (lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"), "pickled"),
        (lambda f: (f / "model.safetensors").unlink(), "has no weights"),
        (lambda f: (f / "config.json").unlink(), r"no config\.json"),
        (lambda f: (f / "config.json").write_text("{"), "cannot be read"),
        (lambda f: (f / "config.json").write_text('{"model_type": "bert"}'), "is a bert; supported: .*llava"),
        (lambda f: _edit(f, vision_feature_layer=9), "vision_feature_layer"),
        (lambda f: _edit(f, vision_feature_select_strategy="cls"), "'cls'; supported"),
        (lambda f: _edit(f, vision_config={"model_type": "siglip_vision_model"}), "siglip"),
        (lambda f: _edit(f, text_config={"hidden_size": 64}), "shape"),
        (lambda f: _index(f, "absent.safetensors"), "absent.safetensors"),
    ],
)
def test_a_spoilt_checkpoint_is_one_sentence(tiny_llava, tmp_path, spoil, words):
    import shutil

    folder = tmp_path / "copy"
    shutil.copytree(tiny_llava, folder)
    spoil(folder)
    with pytest.raises(ModelError, match=words):
        load_model(str(folder))


def _edit(folder, **changes):
    import json

    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))


def _index(folder, shard):
    import json

    from safetensors import safe_open

    with safe_open(str(folder / "model.safetensors"), "np") as file:
        index = {"weight_map": dict.fromkeys(file.keys(), shard)}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def test_projecting_and_gathering_commute(tiny_llava):
    frontend = load_model(str(tiny_llava)).frontend
    hidden = torch.randn(1, 36, 32)
    kept = torch.tensor(np.array([3, 5, 30]))
    with torch.no_grad():
        assert torch.allclose(frontend.project(hidden)[:, kept], frontend.project(hidden[:, kept]), atol=1e-5)
