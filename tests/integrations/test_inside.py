"""Methods inside the language model, asked through the answerer: as `generate()` of plain Transformers answers."""

import json
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoImageProcessor, AutoModelForImageTextToText, AutoTokenizer, LlavaForConditionalGeneration

from tests.inllm.test_laws import method_of
from tests.integrations.test_positions import AFTER, BEFORE, IMAGE, given, photos_of, picture_of
from tests.integrations.test_transformers import SCENES, visual_tokens
from tests.laws.checkpoints.llava_next import llava_next
from tests.laws.checkpoints.llava_onevision import llava_onevision
from tests.models.test_grid_towers import WRITERS, calm
from vtp_export.errors import ModelError
from vtp_export.graphs.assembly import assemble, load_model, source_of
from vtp_export.graphs.eager import EagerSession
from vtp_export.graphs.packing import packed, packer_for
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


TOLD = {"output_logits": True, "return_dict_in_generate": True, "max_new_tokens": 6, "do_sample": False}
TEXT = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 64,
    "max_position_embeddings": 2048,
}
SMALL = [
    ("fastv", {"layer": 1, "ratio": 0.5}),
    ("pyramiddrop", {"after": "1/2", "ratios": "0.5/0.2"}),
    ("sparsevlm", {"after": "1/2/3", "counts": "40/20/10"}),
    ("sparsevlm", {"version": "v2", "best_heads": 2, "after": "1/2/3", "counts": "40/20/10"}),
]


def same_as_generated(answer, out, prompt):
    best = torch.cat(out.logits).topk(2, dim=-1).values
    assert list(answer.ids) == out.sequences[0, prompt:].tolist()
    np.testing.assert_allclose(answer.gaps, best[:, 0] - best[:, 1], atol=1e-4)


@pytest.mark.parametrize(("name", "settings"), SMALL)
@pytest.mark.parametrize(
    ("write", "text", "image"),
    [(llava_next, "llama", 4), (partial(llava_onevision, ratio="anyres_max_9"), "qwen2", 62)],
    ids=["next", "onevision"],
)
@pytest.mark.whole
def test_a_picture_in_tiles_is_answered_about_as_by_generate(tmp_path, monkeypatch, write, text, image, name, settings):
    """One run of tokens, newlines among them; keys that queries share, and biases, in the second."""
    torch.manual_seed(5)
    write(tmp_path, text_config={"model_type": text, **TEXT}, image_token_index=image)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(Path(source_of("tiny-llava")) / file, tmp_path)
    plain = AutoModelForImageTextToText.from_pretrained(tmp_path, dtype=torch.float32).eval()
    answerer, photo = Answerer(str(tmp_path)), photos_of((5, 7))[0]
    monkeypatch.setattr(answerer._frames, "split", lambda question, texts: ((BEFORE,), AFTER))
    monkeypatch.setattr(answerer, "_ends", {-1})
    loaded, packing = packed(load_model(tmp_path), {})
    graph = assemble(loaded, "none", {})
    picture = packer_for(loaded, graph.layout, packing).picture(photo, EagerSession(graph.graph))
    method, count = method_of(name, **settings), len(picture.tokens)
    (answer,) = answerer.answer_each([Prompt((picture,), "?", 6)], within=method)
    ids = torch.tensor([[*BEFORE, *[image] * count, *AFTER]])
    seen = AutoImageProcessor.from_pretrained(tmp_path, backend="pil")(images=[photo], return_tensors="pt")
    with method.pruning(plain.model.language_model, Span(len(BEFORE), count, len(AFTER))) as stages:
        out = plain.generate(input_ids=ids, **seen, **TOLD, eos_token_id=None, pad_token_id=0)
    assert len(stages[-1].slots) < count
    same_as_generated(answer, out, ids.shape[1])


@pytest.mark.parametrize(("name", "settings"), [SMALL[0], SMALL[3]])
@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen2_vl"])
@pytest.mark.whole
def test_a_model_that_counts_rows_and_columns_keeps_them(tmp_path, monkeypatch, family, name, settings):
    """As by generate(), which counts them itself; what would count tokens anew is refused."""
    WRITERS[family](tmp_path)
    calm(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "image_token_id": IMAGE}))
    AutoTokenizer.from_pretrained(source_of("tiny-llava")).save_pretrained(tmp_path)
    plain = AutoModelForImageTextToText.from_pretrained(tmp_path, dtype=torch.float32).eval()
    answerer, (photo,) = Answerer(str(tmp_path)), photos_of((5, 6))
    monkeypatch.setattr(answerer._frames, "split", lambda question, texts: ((BEFORE,), AFTER))
    monkeypatch.setattr(answerer, "_ends", {-1})
    settings = {**settings, "counts": "20/9/4"} if "counts" in settings else settings
    picture, method = picture_of(tmp_path, photo), method_of(name, **settings)
    (answer,) = answerer.answer_each([Prompt((picture,), "?", 6)], within=method)
    inputs = given(tmp_path, photo, (*BEFORE, IMAGE, *AFTER))
    with method.pruning(plain.model.language_model, Span(len(BEFORE), 30, len(AFTER))) as stages:
        out = plain.generate(**inputs, **TOLD, eos_token_id=None, pad_token_id=0)
    assert len(stages[-1].slots) < 30
    same_as_generated(answer, out, inputs["input_ids"].shape[1])
    with pytest.raises(ModelError, match="counts positions anew"):
        answerer.answer_each([Prompt((picture,), "?")], within=method_of("pyramiddrop", ratios="0.5", after="1"))
