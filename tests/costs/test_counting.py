"""Formulas of costs against what torch counts in a real pass, and against printed figures."""

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from vtp_export import rooms
from vtp_export.costs import front_end
from vtp_export.costs.decoder import PRESETS, DecoderShape, cache_bytes, prefill_flops, published_flops, shape_of
from vtp_export.costs.front_end import front_end_flops
from vtp_export.errors import SpecError
from vtp_export.graphs.assembly import assemble, load_model, needs_of
from vtp_export.graphs.eager import EagerSession

SMALL = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 100,
    "head_dim": 24,
}


@pytest.mark.parametrize("tokens", [1, 7, 33])
def test_a_prefill_is_counted_as_torch_counts_it(tokens):
    model, shape = LlamaForCausalLM(LlamaConfig(**SMALL)).eval(), shape_of(SMALL)
    with torch.inference_mode(), front_end._counter() as counter:
        out = model(inputs_embeds=torch.randn(1, tokens, 64), use_cache=True, logits_to_keep=1)
    assert counter.get_total_flops() == prefill_flops(shape, [tokens] * 3)
    cached = [part for layer in out.past_key_values.layers for part in (layer.keys, layer.values)]
    assert sum(part.nbytes for part in cached) == cache_bytes(shape, [tokens] * 3, 4)
    tied = 100 * 64
    norms = 64 * (2 * 3 + 1)
    assert sum(weight.numel() for weight in model.parameters()) == shape.weights + tied + norms


def test_the_papers_table_9_is_reproduced():
    """3.14 T of 576 visual tokens, 0.48 T of 64, 89 % less, as printed."""
    shape = PRESETS["7b"]
    full, pruned = (published_flops(shape, [29 + visual] * 32) for visual in (576, 64))
    assert f"{full / 1e12:.2f}" == "3.14"
    assert pruned / 1e12 == pytest.approx(0.48, abs=0.01)
    assert 0.84 < 1 - pruned / full < 0.90


def test_the_text_config_of_a_whole_model_is_read():
    whole = {"model_type": "llava", "hidden_size": 1, "text_config": SMALL}
    assert shape_of(whole) == shape_of(SMALL)
    plain = {key: value for key, value in SMALL.items() if key not in ("head_dim", "num_key_value_heads")}
    assert (shape_of(plain).kv_heads, shape_of(plain).head_width) == (4, 16)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden_size": None}, "hidden_size"),
        ({"num_hidden_layers": 0}, "layers"),
        ({"num_key_value_heads": 3}, "heads must be a multiple of kv_heads"),
        ({"text_config": [1]}, "text_config must be an object"),
    ],
)
def test_a_shape_that_cannot_be_is_refused(change, message):
    with pytest.raises(SpecError, match=message):
        shape_of({**SMALL, **change})
    with pytest.raises(SpecError, match="no vocab_size"):
        shape_of({key: value for key, value in SMALL.items() if key != "vocab_size"})


def test_a_number_a_layer_is_asked_for():
    shape = DecoderShape(layers=2, width=4, hidden=4, heads=1, kv_heads=1, head_width=4, vocabulary=3)
    for counted in (prefill_flops, published_flops, lambda *given: cache_bytes(*given, 2)):
        with pytest.raises(SpecError, match="one number a layer, 2, not 1"):
            counted(shape, [5])


@pytest.mark.parametrize("pruner", rooms.names("pruners"))
def test_every_front_end_is_counted(pruner):
    """Pruning saves at the projector what it leaves out, but where the method looks at projected tokens."""
    settings = {} if pruner == "none" else {"keep": 8}
    model = load_model("toy", needs_of(pruner, settings))
    session = EagerSession(assemble(model, pruner, settings).graph)
    pixels = np.random.default_rng(0).standard_normal((1, 3, *session.graph.frontend.image_size), dtype=np.float32)
    full = front_end_flops(EagerSession(assemble(model, "none", {}).graph), pixels)
    flops = front_end_flops(session, pixels)
    assert flops.total == flops.tower + flops.pruner + flops.projector
    assert flops.tower >= full.tower > 0 and full.pruner == 0
    if pruner != "none":
        chosen_late = "projected" in session.graph.pruner.method.needs
        assert chosen_late == (flops.projector >= full.projector)
        assert flops.projector >= full.projector * 8 // session.graph.frontend.candidates.n
