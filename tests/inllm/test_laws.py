"""What every method inside the language model must do."""

import contextlib

import pytest
import torch

from tests.inllm import recorded
from vtp_export import rooms
from vtp_export.errors import SpecError
from vtp_export.inllm.base import Span
from vtp_export.settings import from_settings

NAMES = rooms.names("inllm")
V2 = ("sparsevlm", "tiny16", {"version": "v2"})
SHAPE = recorded.SHAPES["tiny4"]


def method_of(name, **settings):
    room = rooms.load("inllm", name)
    return room.Method(from_settings(room.Config, settings))


@pytest.fixture(scope="module")
def model():
    return recorded.model_of(SHAPE, 1, torch.float32)


@pytest.fixture
def prompt():
    return torch.from_numpy(recorded.prompt(SHAPE, 1)[0]).float()[None]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("n", "layers"), [(576, 32), (576, 28), (576, 40), (2340, 32), (256, 24), (36, 8), (49, 4)])
def test_the_mean_is_the_budget_or_the_budget_is_refused(name, n, layers):
    """As near as whole tokens let it be: one token more behind the first cut makes a step."""
    reached = []
    for keep in (1, n // 18, n // 9, n // 6, n // 3, n // 2, n - 1):
        method = method_of(name, keep=max(keep, 1))
        try:
            tokens = method.layer_tokens(n, layers)
        except SpecError:
            assert keep < n / 3
            continue
        reached.append(keep)
        assert abs(method.processed(n, layers) - keep) <= 1.5
        assert tokens[0] == n
        assert tokens == sorted(tokens, reverse=True)
        assert len(tokens) == layers
    assert len(reached) >= 3


@pytest.mark.parametrize("name", NAMES)
def test_layers_read_what_was_planned(name, model, prompt):
    read, method = [], method_of(name, keep=24)

    def watch(layer, args, kwargs):
        read.append((args[0].shape[1], kwargs["position_embeddings"][0].shape[1]))

    with torch.inference_mode(), method.pruning(model.model, Span(5, 48, 12)):
        watches = [layer.register_forward_pre_hook(watch, with_kwargs=True) for layer in model.model.layers]
        cache = model(inputs_embeds=prompt, use_cache=True).past_key_values
    for one in watches:
        one.remove()
    expected = [tokens + 17 for tokens in method.layer_tokens(48, 8)]
    assert read == [(length, length) for length in expected]
    assert [cache.get_seq_length(layer) for layer in range(8)] == expected


@pytest.mark.parametrize("name", NAMES)
def test_a_budget_of_all_tokens_changes_nothing(name, model, prompt):
    with torch.inference_mode():
        plain = model(inputs_embeds=prompt, use_cache=True).logits
        for keep in (48, 1000):
            with method_of(name, keep=keep).pruning(model.model, Span(5, 48, 12)) as stages:
                assert torch.equal(model(inputs_embeds=prompt, use_cache=True).logits, plain)
            assert not stages


@pytest.mark.parametrize("name", NAMES)
def test_nothing_stays_behind(name, model, prompt):
    """Also where it ended in an error; and a second prompt is pruned as the first was."""
    with torch.inference_mode():
        plain = model(inputs_embeds=prompt, use_cache=True).logits
        method = method_of(name, keep=24)
        with contextlib.suppress(ZeroDivisionError), method.pruning(model.model, Span(5, 48, 12)) as stages:
            first = model(inputs_embeds=prompt, use_cache=True).logits
            slots = [stage.slots.tolist() for stage in stages]
            assert torch.equal(model(inputs_embeds=prompt, use_cache=True).logits, first)
            assert [stage.slots.tolist() for stage in stages] == slots
            raise ZeroDivisionError
        assert not torch.equal(first, plain)
        assert torch.equal(model(inputs_embeds=prompt, use_cache=True).logits, plain)


@pytest.mark.parametrize(("name", "shape", "settings"), [*((n, "tiny4", {}) for n in NAMES), V2])
def test_all_is_made_where_the_model_is(name, shape, settings):
    """A tensor that nobody gave a device would be on none here, and mix with no other."""
    model = recorded.model_of(recorded.SHAPES[shape], 1, torch.float32)
    prompt = torch.from_numpy(recorded.prompt(recorded.SHAPES[shape], 1)[0]).float()[None]
    pruning = method_of(name, keep=24, **settings).pruning(model.model, Span(5, 48, 12))
    with torch.inference_mode(), torch.device("meta"), pruning as stages:
        cache = model(inputs_embeds=prompt, use_cache=True).past_key_values
        assert model(inputs_embeds=prompt[:, :1], past_key_values=cache).logits.device.type == "cpu"
    assert stages


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_of_several_views_has_their_budgets_together(name):
    method = method_of(name, keep=192)
    assert method.of_views(576, 576) is method
    larger = method.of_views(2304, 576)
    assert (larger.config.keep, larger) == (768, method.of_views(2304, 576))
    assert abs(larger.processed(2304, 32) - 768) <= 1.5
