"""The tower is a twin of transformers' `CLIPVisionModel` up to the layer that is read, without a map of attention."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from vtp_export.errors import ModelError
from vtp_export.models._tower import Tower
from vtp_export.models._towers import clip_config

TOLERANCE = {"atol": 1e-5, "rtol": 1e-5}
FUSED = "scaled_dot_product"

SIZES = {
    "16 patches": {},
    "one patch": {"image_size": 7},
    "64 patches of 49": {"image_size": 56},
    "wide": {"hidden_size": 64, "intermediate_size": 80, "num_attention_heads": 4, "hidden_act": "gelu"},
    "one head": {"num_attention_heads": 1, "num_hidden_layers": 2},
    "large epsilon": {"layer_norm_eps": 0.1},
}
BASE = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 7,
}


def original(sizes, seed=3):
    """A random `CLIPVisionModel` with sharp attention, and pixels for it."""
    from transformers import CLIPVisionConfig, CLIPVisionModel

    generator = torch.Generator().manual_seed(seed)
    config = CLIPVisionConfig(**{**BASE, **sizes}, attn_implementation="eager")
    model = CLIPVisionModel(config).eval().requires_grad_(False)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        scale = 1.0 if "norm" in name and name.endswith("weight") else 0.0
        width = parameter[0].numel() if parameter.dim() > 1 else 100
        parameter.copy_(scale + (2.0 if "q_proj" in name else 1.0) * noise * width**-0.5)
    return model, torch.randn(2, 3, config.image_size, config.image_size, generator=generator)


def twin(model, states):
    """Our tower with the original's weights, under the original's names."""
    tower = (
        Tower(clip_config(model.config.to_dict()), states, normed=False, following=False).eval().requires_grad_(False)
    )
    weights = model.state_dict()
    tower.load_state_dict({name: weights[name] for name in tower.state_dict()})
    return tower


class Recorder(TorchDispatchMode):
    """Names of all operators that run and the shapes that they give."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        result = operator(*args, **(kwargs or {}))
        outputs = result if isinstance(result, tuple | list) else (result,)
        self.calls += [(str(operator), tuple(out.shape)) for out in outputs if isinstance(out, torch.Tensor)]
        return result


@pytest.mark.parametrize("name", SIZES)
def test_names_are_the_originals_less_what_is_not_read(name):
    model, _ = original(SIZES[name])
    last = model.config.num_hidden_layers - 1
    read = {key for key in model.state_dict() if f".layers.{last}." not in key and "post_layernorm" not in key}
    tower = twin(model, [last])
    assert set(tower.state_dict()) == read
    assert {key: value.shape for key, value in tower.state_dict().items()} == {
        key: value.shape for key, value in model.state_dict().items() if key in read
    }


@pytest.mark.parametrize("name", SIZES)
def test_forward_is_the_originals(name):
    model, pixels = original(SIZES[name])
    wanted = model(pixels, output_hidden_states=True, output_attentions=True)
    for state in range(1, model.config.num_hidden_layers + 1):
        features, read = twin(model, [state])(pixels, {"saliency", "received"})
        torch.testing.assert_close(features, wanted.hidden_states[state], **TOLERANCE)
        attention = wanted.attentions[state - 1].mean(1)
        torch.testing.assert_close(read["saliency"], attention[:, 0], **TOLERANCE)
        torch.testing.assert_close(read["received"], attention.mean(1), **TOLERANCE)
        torch.testing.assert_close(read["saliency"].sum(-1), torch.ones(2), **TOLERANCE)


def test_signals_of_other_layers_are_the_originals():
    model, pixels = original({"num_hidden_layers": 8})
    layers, seen = model.vision_model.encoder.layers if hasattr(model, "vision_model") else model.encoder.layers, {}
    for name in ("k_proj", "q_proj"):
        for number in (5, 6):
            projection = getattr(layers[number].self_attn, name)
            projection.register_forward_hook(lambda _, __, out, key=(name, number): seen.update({key: out}))
    wanted = model(pixels, output_hidden_states=True, output_attentions=True)
    tower = Tower(clip_config(model.config.to_dict()), [6], normed=False, following=True).eval().requires_grad_(False)
    weights = {name.replace("following.", "encoder.layers.6."): name for name in tower.state_dict()}
    state = model.state_dict()
    start = "vision_model." if any(name.startswith("vision_model.") for name in state) else ""
    tower.load_state_dict({ours: state[start + theirs] for theirs, ours in weights.items()})
    early = {"early_saliency", "early_received"}
    _, read = tower(pixels, early | {"keys", "following_keys", "following_saliency"})
    maps = [attention.mean(1) for attention in wanted.attentions]
    torch.testing.assert_close(read["early_saliency"], maps[1][:, 0], **TOLERANCE)  # a quarter of 8: the second
    torch.testing.assert_close(read["early_received"], maps[2].mean(1), **TOLERANCE)  # three eighths: the third
    torch.testing.assert_close(read["keys"], seen["k_proj", 5].unflatten(-1, (2, 16)).mean(-2), **TOLERANCE)
    torch.testing.assert_close(read["following_keys"], seen["k_proj", 6], **TOLERANCE)
    logits = seen["q_proj", 6][:, :1] @ seen["k_proj", 6].transpose(1, 2) * 32**-0.5
    torch.testing.assert_close(read["following_saliency"], logits.softmax(-1)[:, 0], **TOLERANCE)


def test_several_states_are_joined_by_channel_in_the_order_asked_for():
    model, pixels = original({})
    wanted = model(pixels, output_hidden_states=True, output_attentions=True)
    features, read = twin(model, [3, 1])(pixels, {"saliency"})
    torch.testing.assert_close(
        features, torch.cat([wanted.hidden_states[3], wanted.hidden_states[1]], dim=-1), **TOLERANCE
    )
    torch.testing.assert_close(read["saliency"], wanted.attentions[2].mean(1)[:, 0], **TOLERANCE)


@pytest.mark.parametrize("needs", [(), ("saliency",), ("keys",)])
def test_no_map_of_attention_is_made(needs):
    model, pixels = original({"image_size": 56})
    tower, many = twin(model, [3]), 8 * 8 + 1
    with Recorder() as recorder, torch.no_grad():
        tower(pixels, needs)
    assert not [call for call in recorder.calls if call[1][-2:] == (many, many)]
    assert len({position for position, call in enumerate(recorder.calls) if FUSED in call[0]}) >= 3
    softmaxes = [shape for operator, shape in recorder.calls if "softmax" in operator]
    assert softmaxes == ([(2, 2, 1, many)] if "saliency" in needs else [])


def test_the_recorder_sees_the_map_where_there_is_one():
    model, pixels = original({"image_size": 56})
    with Recorder() as recorder, torch.no_grad():
        model(pixels)
    assert [call for call in recorder.calls if call[1][-2:] == (65, 65)]


def test_without_saliency_there_is_none_and_the_features_are_the_same():
    model, pixels = original({})
    tower = twin(model, [2])
    features, read = tower(pixels)
    assert read == {}
    assert torch.equal(features, tower(pixels, {"saliency"})[0])


@pytest.mark.parametrize(
    ("key", "value"),
    [("hidden_act", ["gelu"]), ("hidden_act", "gleu"), ("layer_norm_eps", "1e-5"), ("layer_norm_eps", -1.0)],
)
def test_odd_values_are_one_sentence(key, value):
    with pytest.raises(ModelError, match=r"is not supported|is needed"):
        clip_config({key: value})
