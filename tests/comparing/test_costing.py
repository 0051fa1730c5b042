"""What a method costs: a pass of a real front end and of a real language model."""

import numpy as np
import pytest

from vtp_export.benchmarks._lookup import benchmark_of
from vtp_export.comparing.contenders import contenders_of, signals_of, wanted_of
from vtp_export.comparing.costing import costs_of
from vtp_export.costs import peak
from vtp_export.costs.decoder import cache_bytes, prefill_flops
from vtp_export.costs.peak import PeakMemory
from vtp_export.graphs.assembly import load_model, source_of
from vtp_export.integrations.transformers import Answerer
from vtp_export.parity.asking import Prompt
from vtp_export.progress import silent
from vtp_export.reports.costs import COLUMNS, cost_table

pytestmark = pytest.mark.whole  # loads a model and its language model


@pytest.fixture(scope="module")
def costs():
    wanted = wanted_of(["fastervlm"], {}, [16, 64])
    model = load_model("tiny-llava", signals_of(wanted))
    examples = list(benchmark_of("shapes").examples(3))
    answerer = Answerer(source_of("tiny-llava"))
    contenders = contenders_of(model, wanted, None)
    return costs_of(contenders, examples, model, answerer, silent), answerer, contenders, examples


def test_fewer_tokens_cost_less(costs):
    full, few, more = costs[0]
    assert [one.method for one in costs[0]] == ["none", "fastervlm 16", "fastervlm 64"]
    assert full.tokens - few.tokens == 576 - 16 and more.tokens - few.tokens == 48
    for field in ("tokens", "projector_flops", "prefill_flops", "published_flops", "cache_bytes"):
        assert getattr(few, field) < getattr(more, field) < getattr(full, field)
    assert full.pruner_flops == few.pruner_flops == 0  # it ranks; products of matrices are counted
    assert all(one.first_token_ms > max(one.front_end_ms, one.prefill_ms) > 0 for one in costs[0])


def test_formulas_have_the_models_own_shape(costs):
    (_, few, _), answerer, contenders, examples = costs
    prompts = [
        Prompt((contenders[1].packer.picture(one.open(), contenders[1].session),), one.questions[0].prompt)
        for one in examples
    ]
    layers = [[answerer.length(prompt)] * answerer.layers for prompt in prompts[1:]]  # the first warms up
    assert few.prefill_flops == round(np.mean([prefill_flops(answerer.shape, one) for one in layers]))
    assert few.cache_bytes == round(np.mean([cache_bytes(answerer.shape, one, 4) for one in layers]))


def test_the_length_of_a_prompt_is_what_the_model_reads(costs):
    """Counted at the model itself, over all calls of one question."""
    _, answerer, contenders, examples = costs
    photo = examples[0].open()
    picture = contenders[1].packer.picture(photo, contenders[1].session)
    prompt, lengths = Prompt((picture,), examples[0].questions[0].prompt, longest=1), []
    hook = answerer._model.register_forward_pre_hook(
        lambda module, args, given: lengths.append(given["inputs_embeds"].shape[1]), with_kwargs=True
    )
    try:
        answerer.answer_each([prompt])
    finally:
        hook.remove()
    assert sum(lengths) == answerer.length(prompt)


def test_the_table_has_a_row_each(costs):
    table = cost_table(costs[0])
    assert table.columns == COLUMNS and [len(row) for row in table.rows] == [len(COLUMNS)] * 3


def test_most_memory_is_of_the_work_alone():
    with PeakMemory("cpu") as before:
        pass
    if before.bytes is None:
        pytest.skip("the system does not reset the mark of most memory")
    with PeakMemory("cpu") as during:
        np.ones(40_000_000).sum()
    with PeakMemory("cpu") as after:
        pass
    assert during.bytes > before.bytes + 250e6
    assert after.bytes < during.bytes - 250e6


def test_a_system_that_does_not_tell(monkeypatch, tmp_path):
    monkeypatch.setattr(peak, "RESET", tmp_path / "nowhere" / "clear_refs")
    with PeakMemory("cpu") as one:
        pass
    assert one.bytes is None


def test_inside_the_language_model_every_layer_is_counted_by_itself(costs):
    """FastV reads all in its first layers, and then few: what it keeps is a mean."""
    _, answerer, _, examples = costs
    wanted = wanted_of(["fastv"], {}, [400])
    model = load_model("tiny-llava", signals_of(wanted))
    full, fastv = costs_of(contenders_of(model, wanted, None), examples[:1], model, answerer, silent)
    assert fastv.method == "fastv 400" and full.tokens - fastv.tokens == pytest.approx(576 - 400, abs=1)
    assert fastv.front_end_ms > 0 and fastv.tower_flops == full.tower_flops
    even = [round(fastv.tokens)] * answerer.layers
    assert prefill_flops(answerer.shape, even) < fastv.prefill_flops < full.prefill_flops
