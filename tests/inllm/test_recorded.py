"""What the released code did, choice by choice: in float64 the same, to the last places of the logits."""

import numpy as np
import pytest
import torch
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from tests.inllm import recorded
from vtp_export import rooms
from vtp_export.inllm import _density, sparsevlm
from vtp_export.inllm._budgets import mean_tokens
from vtp_export.inllm.base import Span
from vtp_export.settings import from_settings

CASES = {case["id"]: case for case in recorded.cases()}
SPAN = Span(recorded.BEFORE, recorded.VISUAL, recorded.AFTER)
AROUND = recorded.BEFORE + recorded.AFTER
QUICK = {"fastv-tinygqa-s-K2-24", "pdrop-tiny4-s-trunc", "sparsevlm-v1-tiny4-s-min", "sparsevlm-v2-tiny16-s-b"}
ALL = [pytest.param(name, marks=[] if name in QUICK else pytest.mark.whole) for name in CASES]


def method_of(case):
    def text(numbers):
        return "/".join(map(str, numbers))

    if case["method"] == "fastv":
        name, settings = "fastv", {"layer": case["K"], "ratio": 1 - case["keep"] / recorded.VISUAL}
    elif case["method"] == "pdrop":
        name, settings = "pyramiddrop", {"after": text(case["layers"]), "ratios": text(case["ratios"])}
    else:
        after = [layer + 1 for layer in case["layers"]]  # recorded as the last layer before a cut
        name = "sparsevlm"
        settings = {"version": case["version"], "after": text(after), "counts": text(case["counts"])}
    room = rooms.load("inllm", name)
    return room.Method(from_settings(room.Config, settings))


def run(case, **options):
    """Stages, logits of prompt and next token, cache lengths, and rotations by layer of both."""
    shape = recorded.SHAPES[case["cfg"]]
    dtype = options.get("dtype", torch.float64)
    model, method = recorded.model_of(shape, case["seed"], **options), method_of(case)
    whole, following = (torch.from_numpy(rows).to(dtype) for rows in recorded.prompt(shape, case["seed"]))
    turned = []

    def watch(layer, args, kwargs):
        turned.append(kwargs["position_embeddings"][0][0])

    with torch.inference_mode(), method.pruning(model.model, SPAN) as stages:
        for layer in model.model.layers:
            layer.register_forward_pre_hook(watch, with_kwargs=True)
        prompt = model(inputs_embeds=whole[None], use_cache=True, logits_to_keep=1)
        cache = prompt.past_key_values
        lengths = [cache.get_seq_length(layer) for layer in range(recorded.LAYERS)]
        after = model(inputs_embeds=following[None, None], past_key_values=cache, use_cache=True)
    places = torch.arange(len(whole) + 1)[None]
    table = model.model.rotary_emb(whole, places)[0][0]
    found = [(rows[:, None] == table).all(-1).float().argmax(-1).tolist() for rows in turned]
    logits = [one.logits[0, -1].numpy() for one in (prompt, after)]
    return method, stages, logits, lengths, (found[: recorded.LAYERS], found[recorded.LAYERS :])


@pytest.fixture
def wide_norm(monkeypatch):
    """Transformers norms in float32 whatever the model is in; the recorded runs did it in float64."""

    def forward(self, states):
        return self.weight * states / (states.square().mean(-1, keepdim=True) + self.variance_epsilon).sqrt()

    monkeypatch.setattr(LlamaRMSNorm, "forward", forward)


@pytest.fixture
def ties(request, monkeypatch):
    """Of cases that were recorded without the small numbers that tell equal densities apart."""
    if CASES[request.node.callspec.params["name"]].get("zero_noise"):
        monkeypatch.setattr(_density, "falling", lambda distance: torch.zeros(len(distance), dtype=distance.dtype))


@pytest.mark.parametrize("name", ALL)
def test_weights_and_prompts_are_those_of_the_record(name):
    case = CASES[name]
    shape = recorded.SHAPES[case["cfg"]]
    assert recorded.digest(recorded.weights(shape, case["seed"]).values()) == case["weights_sha"]
    assert recorded.digest(recorded.prompt(shape, case["seed"])) == case["inputs_sha"]


@pytest.mark.parametrize("name", ALL)
def test_in_float64_all_is_the_same(name, wide_norm, ties):
    case, truth = CASES[name], CASES[name]["arrays"]
    method, stages, logits, lengths, (places, next_places) = run(case)
    assert lengths == truth["layer_len"].tolist() == [n + AROUND for n in method.layer_tokens(recorded.VISUAL, 8)]
    assert mean_tokens(method.layer_tokens(recorded.VISUAL, 8)) == case["avg_tokens"]
    assert len(stages) == sum(key.startswith("score") for key in truth)
    for number, stage in enumerate(stages, 1):
        slots = truth.get(f"keep{number}", truth.get(f"slots{number}"))
        assert stage.slots.tolist() == slots.tolist()
        np.testing.assert_allclose(stage.scores, truth[f"score{number}"], rtol=1e-5)  # rotations are float32 in both
        assert places[stage.cut.before] == truth[f"pos{number}"].tolist()
        if f"merged{number}" in truth:
            np.testing.assert_allclose(stage.merged, truth[f"merged{number}"], atol=1e-12)
    np.testing.assert_allclose(logits[0], truth["logits"], atol=1e-12)
    np.testing.assert_allclose(logits[1], truth["logits_next"], atol=1e-12)
    whole = [[AROUND + recorded.VISUAL]] * recorded.LAYERS
    expected = [[place] for place in truth["pos_next"]] if "pos_next" in truth else whole
    assert next_places == (expected if case.get("version") != "v1" else [[length] for length in lengths])


@pytest.mark.whole
@pytest.mark.parametrize("kernel", ["sdpa", "eager"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", CASES)
def test_as_transformers_is_the_same_tokens_stay(name, dtype, kernel, ties):
    """In float32 as in float64, with its own norms and either kernel."""
    truth = CASES[name]["arrays"]
    _, stages, logits, lengths, _ = run(CASES[name], dtype=dtype, kernel=kernel)
    assert lengths == truth["layer_len"].tolist()
    for number, stage in enumerate(stages, 1):
        assert stage.slots.tolist() == truth.get(f"keep{number}", truth.get(f"slots{number}")).tolist()
    near = 5e-6 if dtype == torch.float64 else 5e-5
    np.testing.assert_allclose(logits[0], truth["logits"], atol=near)
    np.testing.assert_allclose(logits[1], truth["logits_next"], atol=near)


@pytest.mark.parametrize("name", [name for name in CASES if name.startswith("sparsevlm")])
def test_the_words_that_rank_are_the_same(name):
    case, truth = CASES[name], CASES[name]["arrays"]
    rows, _ = recorded.prompt(recorded.SHAPES[case["cfg"]], case["seed"])
    visual, text = torch.from_numpy(rows[recorded.BEFORE :]).split([recorded.VISUAL, recorded.AFTER])
    np.testing.assert_allclose(sparsevlm.rater_scores(visual, text), truth["rater_score"], rtol=1e-12)
    assert method_of(case).raters(visual, text).tolist() == truth["raters"].tolist()


@pytest.mark.parametrize("name", [name for name in ALL if name.values[0].startswith("sparsevlm-v1")])
def test_clusters_are_the_same(name, wide_norm, ties, monkeypatch):
    truth, found = CASES[name]["arrays"], []
    clusters = _density.clusters
    monkeypatch.setattr(_density, "clusters", lambda states, count: found.append(clusters(states, count)) or found[-1])
    before = np.arange(recorded.VISUAL)
    _, stages, *_ = run(CASES[name])
    assert len(found) == 3
    for number, ((cluster, centres), stage) in enumerate(zip(found, stages, strict=True), 1):
        candidates = truth[f"cand{number}"]
        gone = before[~np.isin(before, truth[f"slots{number}"])]
        scores = truth[f"score{number}"][np.isin(before, gone)]
        assert gone[np.argsort(-scores)[: len(candidates)]].tolist() == candidates.tolist()
        assert cluster.tolist() == truth[f"cluster{number}"].tolist()
        assert candidates[centres.numpy()].tolist() == truth[f"centre{number}"].tolist()
        before = stage.slots.numpy()
