"""In Transformers' decoders: rows of attention, what dropping means, answers token by token, and what is refused."""

import importlib

import pytest
import torch
from transformers import DynamicCache, StaticCache

from tests.inllm.test_laws import method_of
from vtp_export.errors import ModelError, SpecError
from vtp_export.inllm._attention import attention_rows
from vtp_export.inllm._decoders import FAMILIES
from vtp_export.inllm.base import Span

SIZES = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 5, "num_attention_heads": 4, "vocab_size": 50}
SPAN = Span(4, 30, 7)
PREFIXES = {"qwen2_vl_text": "Qwen2VLText", "qwen2_5_vl_text": "Qwen2_5_VLText"}


def decoder_of(family, kernel="sdpa", **changed):
    """A random decoder whose queries share keys, and whose logits are far from uniform."""
    prefix = PREFIXES.get(family, family.capitalize())
    room = family.removesuffix("_text")
    config = getattr(importlib.import_module(f"transformers.models.{room}.configuration_{room}"), f"{prefix}Config")
    model = getattr(importlib.import_module(f"transformers.models.{room}.modeling_{room}"), f"{prefix}Model")
    rope = {"rope_type": "default", "rope_theta": 10000.0}
    if family in PREFIXES:
        rope["mrope_section"] = [2, 3, 3]
    settings = {**SIZES, "num_key_value_heads": 2, "head_dim": 16, "rope_parameters": rope, "sliding_window": None}
    torch.manual_seed(3)
    decoder = model._from_config(config(**{**settings, **changed}), attn_implementation=kernel).double().eval()
    for name, weights in decoder.named_parameters():
        if weights.dim() == 2 and "embed" not in name:
            torch.nn.init.normal_(weights, std=1.5 / weights.shape[1] ** 0.5)
        elif "bias" in name or "norm" in name:
            weights.data += 0.3 * torch.randn_like(weights)
    return decoder.requires_grad_(False)


def prompt_of(length=SPAN.before + SPAN.visual + SPAN.after):
    torch.manual_seed(4)
    return torch.randn(1, length, SIZES["hidden_size"], dtype=torch.float64)


def places_of(family):
    """Rows and columns of the picture, for those that count them; what others count by themselves."""
    if family not in PREFIXES:
        return {}
    text = torch.arange(SPAN.before).expand(3, -1)
    cells = torch.stack([torch.zeros(30, dtype=torch.int64), torch.arange(30) // 6, torch.arange(30) % 6])
    after = torch.arange(SPAN.after).expand(3, -1)
    return {"position_ids": torch.cat([text, cells + SPAN.before, after + SPAN.before + 6], 1)[:, None]}


@pytest.mark.parametrize("family", FAMILIES)
def test_rows_of_attention_are_those_of_the_model(family):
    decoder, read = decoder_of(family, "eager"), []

    def watch(layer, args, kwargs):
        read.append((args[0][0], tuple(part[0] for part in kwargs["position_embeddings"])))

    for layer in decoder.layers:
        layer.register_forward_pre_hook(watch, with_kwargs=True)
    whole = decoder(inputs_embeds=prompt_of(), **places_of(family), output_attentions=True)
    rows = torch.tensor([40, 12, 36])
    for layer, (states, rotation), attention in zip(decoder.layers, read, whole.attentions, strict=True):
        torch.testing.assert_close(
            attention_rows(layer, states, rotation, rows), attention[0, :, rows], atol=1e-6, rtol=0
        )


@pytest.mark.parametrize("kernel", ["sdpa", "eager"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_token_that_is_dropped_is_one_that_no_later_layer_sees(family, kernel):
    """FastV against masks in the whole sequence, in the prefill and for the tokens that follow."""
    method, places = method_of("fastv", layer=2, ratio=0.6), places_of(family)
    decoder, prompt, following = decoder_of(family, kernel), prompt_of(), prompt_of(43)[:, 41:]
    with method.pruning(decoder, SPAN) as stages:
        first = decoder(inputs_embeds=prompt, **places, use_cache=True)
        after, cache = [], first.past_key_values
        for place, token in enumerate(following[0]):
            onward = {name: ids[..., -1:] + 1 + place for name, ids in places.items()}
            after.append(decoder(inputs_embeds=token[None, None], **onward, past_key_values=cache).last_hidden_state)
    (stage,) = stages
    assert len(stage.slots) == 12
    hidden = torch.zeros(43, dtype=torch.bool)
    hidden[SPAN.before : SPAN.before + SPAN.visual] = True
    hidden[SPAN.before + stage.slots] = False
    mask = torch.ones(43, 43, dtype=torch.bool).tril() & ~(hidden & ~torch.eye(43, dtype=torch.bool))
    mask = torch.zeros(43, 43, dtype=torch.float64).masked_fill(~mask, -1e300)[None, None]
    for layer in list(decoder.layers)[2:]:
        layer.register_forward_pre_hook(
            lambda _, args, kwargs: (args, {**kwargs, "attention_mask": mask}), with_kwargs=True
        )
    if places:
        more = torch.arange(1, 3) + places["position_ids"][..., -1:]
        places = {"position_ids": torch.cat([places["position_ids"], more], -1)}
    whole = decoder(inputs_embeds=torch.cat([prompt, following], 1), **places).last_hidden_state
    torch.testing.assert_close(first.last_hidden_state[:, -1], whole[:, 40], atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.cat(after, 1), whole[:, 41:], atol=1e-5, rtol=0)


def ask(decoder, prompt=None, name="fastv", span=SPAN, **options):
    settings = {key: options.pop(key) for key in ("version", "best_heads") if key in options}
    settings |= {"layer": 2} if name == "fastv" else {"after": "1/2/3"}
    with method_of(name, keep=20, **settings).pruning(decoder, span):
        return decoder(**{"inputs_embeds": prompt_of() if prompt is None else prompt, "use_cache": True, **options})


@pytest.mark.parametrize(
    ("decoder", "options", "words"),
    [
        (("qwen2_5_vl_text",), {"name": "pyramiddrop"}, "not defined for rows and columns of pictures"),
        (("qwen2_5_vl_text",), {"name": "sparsevlm"}, "fastv, and sparsevlm with version=v2, keep them"),
        (("llama",), {"name": "sparsevlm", "version": "v2"}, "asks the best 14 heads, and the decoder has 4"),
        (("llama", "flex_attention"), {}, "not there for attention by 'flex_attention'; load the model with attn_impl"),
        (("llama",), {"prompt": prompt_of().repeat(2, 1, 1)}, "one prompt at a time, and 2 were given"),
        (("llama",), {"attention_mask": torch.ones(1, 41).index_fill(1, torch.tensor([0]), 0)}, "without padding"),
        (("llama",), {"use_cache": False}, "needs a cache that grows"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(decoder, options, words):
    with pytest.raises(ModelError, match=words) as caught:
        ask(decoder_of(*decoder), **options)
    assert "\n" not in str(caught.value)


def test_decoders_that_do_not_see_all_are_refused():
    window = {"sliding_window": 8}
    for decoder in (
        decoder_of("mistral", **window),
        decoder_of("qwen2", use_sliding_window=True, max_window_layers=2, **window),
    ):
        with pytest.raises(ModelError, match="attend to all that was said, and this one has sliding_attention"):
            ask(decoder)
    assert ask(decoder_of("qwen2", use_sliding_window=False, **window))
    decoder = decoder_of("llama")
    decoder.config.model_type = "mamba"
    with pytest.raises(ModelError, match="not there for 'mamba'; it is for: llama, "):
        ask(decoder)


def test_a_prompt_comes_whole_and_with_a_question():
    decoder = decoder_of("llama")
    for length in (1, 34):
        with pytest.raises(SpecError, match=f"the prompt has {length} tokens, and a question was expected .* at 34"):
            ask(decoder, prompt_of(length))
    with method_of("fastv", layer=2, keep=20).pruning(decoder, SPAN):
        cache = decoder(inputs_embeds=prompt_of(), use_cache=True).past_key_values
        with pytest.raises(ModelError, match="prompts in one piece and answers token by token; 3 tokens were given"):
            decoder(inputs_embeds=prompt_of(3), past_key_values=cache)
        static = StaticCache(config=decoder.config, max_cache_len=64)
        with pytest.raises(ModelError, match="a DynamicCache"):
            decoder(inputs_embeds=prompt_of(), past_key_values=static)
        assert decoder(inputs_embeds=prompt_of(), past_key_values=DynamicCache(config=decoder.config))


def test_a_question_of_one_word_has_none_that_stands_out():
    with pytest.raises(SpecError, match="no word of the question stands out"):
        ask(decoder_of("llama"), prompt_of(35), name="sparsevlm")


def test_scores_that_are_not_finite_rank_nothing():
    decoder = decoder_of("llama")
    decoder.layers[1].self_attn.k_proj.weight.data[0, 0] = torch.nan
    with pytest.raises(ModelError, match="attention of layer 1 is not finite in float64, and ranks nothing"):
        ask(decoder)
