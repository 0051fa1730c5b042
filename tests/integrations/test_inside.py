"""Methods inside the language model, asked through the answerer: as `generate()` of plain Transformers answers."""

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, LlavaForConditionalGeneration

from tests.inllm.test_laws import method_of
from tests.integrations.test_transformers import SCENES, visual_tokens
from vtp_export.errors import ModelError
from vtp_export.graphs.assembly import load_model, source_of
from vtp_export.inllm.base import Span
from vtp_export.integrations.transformers import Answerer
from vtp_export.parity.asking import Prompt

METHODS = [
    pytest.param("fastv", {}, marks=pytest.mark.whole),
    pytest.param("pyramiddrop", {}, marks=pytest.mark.whole),
    pytest.param("sparsevlm", {}),
    pytest.param("sparsevlm", {"version": "v2", "best_heads": 2}, marks=pytest.mark.whole),
]


@pytest.fixture(scope="module")
def answerer():
    return Answerer(source_of("tiny-llava"))


@pytest.fixture(scope="module")
def plain():
    return LlavaForConditionalGeneration.from_pretrained(source_of("tiny-llava"), dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def model():
    return load_model("tiny-llava")


@pytest.mark.parametrize(("name", "settings"), METHODS)
def test_answers_are_those_of_generate(answerer, plain, model, name, settings):
    """Its own tower, its own splice, its own greedy decoding, its own cache; any kernel."""
    method = method_of(name, keep=192, **settings)
    tokenizer = AutoTokenizer.from_pretrained(source_of("tiny-llava"))
    pixels, tokens = visual_tokens(model, SCENES[0])
    questions = [*[question.prompt for question in SCENES[0].questions[:3]], "Describe the image."]
    found = answerer.answer_each([Prompt((tokens,), question, 24) for question in questions], within=method)
    for question, answer, kernel in zip(questions, found, ["sdpa", "eager"] * 2, strict=True):
        turns = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": question}]}]
        text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        ids = tokenizer(text.replace("<image>", "<image>" * 576), return_tensors="pt")["input_ids"]
        first = int((ids[0] == plain.config.image_token_id).float().argmax())
        told = {"output_logits": True, "return_dict_in_generate": True, "max_new_tokens": 24, "do_sample": False}
        plain.set_attn_implementation(kernel)
        with method.pruning(plain.model.language_model, Span(first, 576, ids.shape[1] - first - 576)) as stages:
            out = plain.generate(input_ids=ids, pixel_values=pixels, **told)
        assert len(stages) == len(method.cuts(576, 4)) > 0
        expected = out.sequences[0, ids.shape[1] :].tolist()
        assert list(answer.ids) == [token for token in expected if token != tokenizer.eos_token_id]
        best = torch.cat(out.logits).topk(2, dim=-1).values  # the same text could come of other arithmetic
        np.testing.assert_allclose(answer.gaps, best[:, 0] - best[:, 1], atol=2e-3)


@pytest.mark.parametrize(("name", "settings"), METHODS)
def test_what_is_dropped_matters(answerer, model, name, settings):
    """Fewer tokens, other margins; and the same again without the method."""
    _, tokens = visual_tokens(model, SCENES[1])
    prompts = [Prompt((tokens,), question.prompt, 8) for question in SCENES[1].questions][:4]
    before = answerer.answer_each(prompts)
    pruned = answerer.answer_each(prompts, within=method_of(name, keep=160, **settings))
    assert all(one.gaps != other.gaps for one, other in zip(before, pruned, strict=True))
    assert answerer.answer_each(prompts) == before


def test_a_decoder_of_few_heads_is_refused(answerer, model):
    _, tokens = visual_tokens(model, SCENES[0])
    with pytest.raises(ModelError, match="asks the best 14 heads, and the decoder has 4; set best_heads"):
        answerer.answer_each([Prompt((tokens,), "?")], within=method_of("sparsevlm", version="v2"))
