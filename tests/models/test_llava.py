"""What is encoded is what transformers' LLaVA computes, in every layout and with every option."""

import pytest
import torch

from vtp_export.errors import ModelError
from vtp_export.graphs.assembly import load_model

TOLERANCE = {"atol": 1e-5, "rtol": 1e-5}

# What differs from `write_llava`'s defaults: layer -2, CLS dropped, biases, float32, one file.
OPTIONS = {
    "usual": {},
    "last layer": {"vision_feature_layer": -1},
    "first layer": {"vision_feature_layer": 1},
    "last layer, by its positive number": {"vision_feature_layer": 4},
    "two layers": {"vision_feature_layer": [-2, -3]},
    "two layers, the deepest last": {"vision_feature_layer": [1, 3], "vision_feature_select_strategy": "full"},
    "CLS kept": {"vision_feature_select_strategy": "full"},
    "no projector bias": {"multimodal_projector_bias": False},
    "tower with gelu": {"vision": {"hidden_act": "gelu"}},
    "projector with quick_gelu": {"projector_hidden_act": "quick_gelu"},
    "projector with silu": {"projector_hidden_act": "silu"},
    "large epsilon": {"vision": {"layer_norm_eps": 0.1}},
    "float16": {"dtype": torch.float16},
    "bfloat16": {"dtype": torch.bfloat16},
    "sharded": {"shard_size": "40KB"},
    "sharded float16, CLS kept": {
        "shard_size": "20KB",
        "dtype": torch.float16,
        "vision_feature_select_strategy": "full",
    },
    "other sizes": {
        "vision": {
            "hidden_size": 64,
            "intermediate_size": 96,
            "num_hidden_layers": 5,
            "num_attention_heads": 4,
            "image_size": 56,
            "patch_size": 14,
        }
    },
    "three layers, 9 patches": {"vision": {"num_hidden_layers": 3, "image_size": 42, "patch_size": 14}},
}

# The names that transformers 5 writes, to the names of other releases.
LAYOUTS = {
    "llava-1.5-7b-hf": {
        "vision_tower.": "vision_tower.vision_model.",
        "multi_modal_projector.": "multi_modal_projector.",
        "language_model.": "language_model.",
    },
    "model prefix": {
        "vision_tower.": "model.vision_tower.",
        "multi_modal_projector.": "model.multi_modal_projector.",
        "language_model.": "model.language_model.",
    },
    "model prefix, nested tower": {
        "vision_tower.": "model.vision_tower.vision_model.",
        "multi_modal_projector.": "model.multi_modal_projector.",
        "language_model.": "model.language_model.",
    },
}


@torch.no_grad()
def computed_by_transformers(folder, pixels):
    """Projected features, features and the CLS row of attention."""
    from transformers import LlavaForConditionalGeneration

    model = LlavaForConditionalGeneration.from_pretrained(
        folder, attn_implementation="eager", dtype=torch.float32
    ).eval()
    out = model.model.get_image_features(pixels, output_hidden_states=True, output_attentions=True)
    first = 1 if model.config.vision_feature_select_strategy == "default" else 0
    layers = model.config.vision_feature_layer
    layers = layers if isinstance(layers, list) else [layers]
    hidden = torch.cat([out.hidden_states[layer] for layer in layers], dim=-1)[:, first:]
    deepest = max(layer % len(out.hidden_states) for layer in layers)
    row = out.attentions[deepest - 1].mean(1)[:, 0, first:]
    return torch.stack(list(out.pooler_output)), hidden, row


def assert_same_numbers(folder, original):
    """`folder`, loaded by us, computes what `original` does in transformers."""
    loaded = load_model(str(folder))
    size = loaded.frontend.image_size[0]
    pixels = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(7))
    projected, hidden, row = computed_by_transformers(original, pixels)
    with torch.no_grad():
        tokens = loaded.frontend.encode(pixels, {"projected", "saliency"})
    for got, wanted in zip(tokens[:3], (hidden, projected, row), strict=True):
        assert got.dtype == torch.float32
        assert got.shape == wanted.shape
        torch.testing.assert_close(got, wanted, **TOLERANCE)
    return loaded, tokens


@pytest.mark.parametrize("name", OPTIONS)
def test_the_numbers_are_those_of_transformers(make_llava, name):
    folder = make_llava(**OPTIONS[name])
    loaded, tokens = assert_same_numbers(folder, folder)
    assert tokens.hidden.shape[1] == loaded.frontend.candidates.n
    assert loaded.frontend.width == 48


@pytest.mark.parametrize("sharded", [False, True], ids=["one file", "shards"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_older_names_are_read_as_well(single_llava, rename, layout, sharded):
    folder = rename(single_llava, LAYOUTS[layout], sharded)
    loaded, _ = assert_same_numbers(folder, single_llava)
    assert loaded.core.weights_sha256 == load_model(str(single_llava)).core.weights_sha256


def test_the_data_tell_the_options_apart(single_llava, pixels):
    """Uniform attention or tiny activations would let a wrong layer, head or activation pass."""
    projected, hidden, row = computed_by_transformers(single_llava, pixels)
    assert row.max() > 3 * row.mean()
    assert hidden.std() > 0.5
    assert projected.std() > 0.1


def test_the_record_tells_what_was_loaded(make_llava):
    whole, half = load_model(str(make_llava())), load_model(str(make_llava(dtype=torch.float16)))
    numbers = sum(parameter.numel() for parameter in whole.module.parameters())
    assert whole.core.family == "llava"
    assert whole.core.revision is None
    assert whole.core.weights_bytes == 4 * numbers
    assert half.core.weights_bytes == 2 * numbers
    assert half.core.weights_sha256 != whole.core.weights_sha256


def test_a_llava_without_a_projector_is_refused(single_llava, rename):
    rules = {"vision_tower.": "vision_tower.", "multi_modal_projector.": "connector.", "language_model.": "lm."}
    with pytest.raises(ModelError, match="has no two-layer multi-modal projector"):
        load_model(str(rename(single_llava, rules, False)))


def test_a_llava_without_a_tower_is_refused(single_llava, rename):
    rules = {"vision_tower.": "encoder.", "multi_modal_projector.": "multi_modal_projector.", "language_model.": "lm."}
    copied = rename(single_llava, rules, False)
    # Under whatever name, it is recognised by the tensor that only a CLIP tower has.
    assert load_model(str(copied)).frontend.candidates.grid == (4, 4)
    rules["vision_tower."] = "siglip_"
    rules["vision_tower.embeddings.class_embedding"] = "siglip_embedding"
    rules = dict(sorted(rules.items(), key=lambda rule: -len(rule[0])))
    with pytest.raises(ModelError, match="has no CLIP vision tower"):
        load_model(str(rename(single_llava, rules, False)))


def test_a_bare_tower_gives_what_llava_would_read(tmp_path):
    from transformers import CLIPVisionConfig, CLIPVisionModel

    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 4, "num_attention_heads": 2}
    torch.manual_seed(0)
    tower = CLIPVisionModel(CLIPVisionConfig(**sizes, image_size=42, patch_size=7)).eval()
    tower.save_pretrained(tmp_path)
    images = torch.randn(1, 3, 42, 42, generator=torch.Generator().manual_seed(7))
    with torch.no_grad():
        wanted = tower(images, output_hidden_states=True).hidden_states[-2][:, 1:]
        found = load_model(str(tmp_path)).frontend.encode(images, {"projected"})
    torch.testing.assert_close(found.hidden, wanted, **TOLERANCE)
    assert torch.equal(found.projected, found.hidden)
