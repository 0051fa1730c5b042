"""Splicing: a Transformers language model that is fed our tokens answers as it does by itself."""

import contextlib
import dataclasses
import importlib
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, LlavaForConditionalGeneration

from tests.laws.checkpoints.llava_next import llava_next
from vtp_export.benchmarks.shapes import Benchmark
from vtp_export.errors import ModelError, SpecError, UnavailableError, UnknownNameError
from vtp_export.graphs.assembly import assemble, load_model, source_of
from vtp_export.graphs.eager import EagerSession
from vtp_export.graphs.packing import packed, packer_for
from vtp_export.inllm._budgets import Cut
from vtp_export.inllm.base import Config, Method, Span
from vtp_export.integrations.transformers import Answerer
from vtp_export.parity.asking import Prompt
from vtp_export.runtime.output import Kept
from vtp_export.runtime.packing import Picture
from vtp_export.runtime.preprocess import pixel_values

SCENES = list(Benchmark().examples(3))


@pytest.fixture(scope="module")
def answerer():
    return Answerer(source_of("tiny-llava"))


@pytest.fixture(scope="module")
def model():
    return load_model("tiny-llava")


def visual_tokens(model, scene, pruner="none", **settings):
    graph = assemble(model, pruner, settings).graph
    pixels = torch.from_numpy(pixel_values(scene.open(), model.preprocessing))
    with torch.inference_mode():
        return pixels, in_one_run(graph(pixels)[0][0].numpy())


def in_one_run(tokens):
    """A picture of tokens (m, d) that no text interrupts."""
    kept = np.arange(len(tokens))
    views = (Kept(kept=kept, tokens=tokens),)
    return Picture(tokens=tokens, view=kept * 0, kept=kept, views=views, runs=(len(tokens),), text=("", ""))


def test_unpruned_answers_are_those_of_generate(answerer, model):
    """Plain Transformers: its own tower, its own splice, its own greedy decoding."""
    plain = LlavaForConditionalGeneration.from_pretrained(source_of("tiny-llava"), dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(source_of("tiny-llava"))
    for scene in SCENES:
        pixels, tokens = visual_tokens(model, scene)
        prompts = [question.prompt for question in scene.questions]
        found = answerer.answer(tokens, prompts)
        for prompt, answer in zip(prompts, found, strict=True):
            turns = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": prompt}]}]
            text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
            ids = tokenizer(text.replace("<image>", "<image>" * 576), return_tensors="pt")["input_ids"]
            told = {"output_logits": True, "return_dict_in_generate": True}
            out = plain.generate(input_ids=ids, pixel_values=pixels, max_new_tokens=64, do_sample=False, **told)
            expected = out.sequences[0, ids.shape[1] :].tolist()
            assert list(answer.ids) == [token for token in expected if token != tokenizer.eos_token_id]
            best = torch.cat(out.logits).topk(2, dim=-1).values  # the same text could come of other arithmetic
            np.testing.assert_allclose(answer.gaps, best[:, 0] - best[:, 1], atol=2e-3)


def test_questions_together_are_questions_alone(answerer, model):
    _, tokens = visual_tokens(model, SCENES[0], "fastervlm", keep=64)
    prompts = [question.prompt for question in SCENES[0].questions]
    together = answerer.answer(tokens, prompts)
    for prompt, answer in zip(prompts, together, strict=True):
        (alone,) = answerer.answer(tokens, [prompt])
        assert alone.ids == answer.ids
        np.testing.assert_allclose(alone.gaps, answer.gaps, atol=1e-3)


def test_questions_about_several_pictures_are_answered_together_as_alone(answerer, model, monkeypatch):
    """Of one shape, so without padding; of another number of tokens in a batch of their own; in few at a time too."""
    kept = [(scene, keep) for keep in (64, 48) for scene in SCENES]
    shown = [(visual_tokens(model, scene, "fastervlm", keep=keep)[1], scene) for scene, keep in kept]
    prompts = [Prompt((tokens,), question.prompt) for tokens, scene in shown for question in scene.questions]
    rows, begun = [], answerer._begun_together
    monkeypatch.setattr(answerer, "_begun_together", lambda few: rows.append(len(few)) or begun(few))
    together = answerer.answer_each(prompts, 32)
    assert rows == [3, 3]
    in_fours = answerer.answer_each(prompts, 4)
    alone = [answerer.answer_each([prompt])[0] for prompt in prompts]
    for one, other, by_itself in zip(together, in_fours, alone, strict=True):
        assert one.ids == other.ids == by_itself.ids
        np.testing.assert_allclose(one.gaps, by_itself.gaps, atol=1e-3)


class Dropping(Method):
    """Every layer from the second on reads what stands before and behind the picture, and its first token."""

    def __init__(self, keep):
        super().__init__(Config(keep=keep))
        self.spans = []

    @contextlib.contextmanager
    def pruning(self, decoder, span):
        def cut(module, arguments, named):
            (hidden,) = arguments
            if hidden.shape[1] > self.config.keep + span.before + span.after:
                gone = slice(span.before + self.config.keep, span.before + span.visual)
                left = np.delete(np.arange(hidden.shape[1]), gone)
                turned = tuple(part[:, left] for part in named["position_embeddings"])
                named = {**named, "position_embeddings": turned, "attention_mask": None, "position_ids": None}
                return (hidden[:, left],), named
            return arguments, named

        self.spans.append(span)
        layers = list(decoder.layers)[1:]
        handles = [layers[0].register_forward_pre_hook(cut, with_kwargs=True)]
        follow = [one.register_forward_pre_hook(self._following(span), with_kwargs=True) for one in layers[1:]]
        try:
            yield
        finally:
            for handle in (*handles, *follow):
                handle.remove()

    def _following(self, span):
        def turned(module, arguments, named):
            parts = named["position_embeddings"]
            if parts[0].shape[1] > arguments[0].shape[1]:
                gone = slice(span.before + self.config.keep, span.before + span.visual)
                left = np.delete(np.arange(parts[0].shape[1]), gone)
                parts = tuple(part[:, left] for part in parts)
            return arguments, {**named, "position_embeddings": parts, "attention_mask": None, "position_ids": None}

        return turned

    def refuse_unfit(self, decoder):
        pass

    def _cuts(self, n, layers):
        return (Cut(before=1, ranks=0, keep=self.config.keep),)


def test_what_prunes_inside_the_language_model_is_there_while_it_reads(answerer, model):
    """With nothing to prune the answers are the same; with little left they are others; nothing stays behind."""
    _, tokens = visual_tokens(model, SCENES[0])
    prompts = [Prompt((tokens,), question.prompt) for question in SCENES[0].questions]
    plain = [one.ids for one in answerer.answer_each(prompts)]
    whole, hardly = Dropping(576), Dropping(1)
    assert [one.ids for one in answerer.answer_each(prompts, within=whole)] == plain
    assert [one.ids for one in answerer.answer_each(prompts, within=hardly)] != plain
    assert [one.ids for one in answerer.answer_each(prompts)] == plain
    before, after = answerer._frames.split(prompts[0].text)
    assert whole.spans[0] == Span(len(before[0]), 576, len(after))
    assert hardly.processed(576, answerer.layers) == (576 + answerer.layers - 1) / answerer.layers
    in_runs = dataclasses.replace(tokens, runs=(500, 76), text=("", "", ""))
    with pytest.raises(ModelError, match="it takes one run of visual tokens"):
        answerer.answer_each([Prompt((in_runs,), "?")], within=whole)


def test_a_prompt_can_be_worded_as_llava_was_evaluated(answerer):
    asked = Answerer(source_of("tiny-llava"), form="vicuna_v1")._frames
    (made,) = asked._prompts("Is there a ring?", 1, "<image>")
    assert made().startswith("A chat between a curious user and an artificial intelligence assistant. The assistant")
    assert made().endswith("questions. USER: <image>\nIs there a ring? ASSISTANT:")
    (before,), _ = asked.split("Is there a ring?")
    assert len(before) > len(answerer._frames.split("Is there a ring?")[0][0])
    with pytest.raises(UnknownNameError, match="no prompt form named 'vicuna'; did you mean 'vicuna_v1'"):
        Answerer(source_of("tiny-llava"), form="vicuna")


PARTS = """{% for m in messages %}USER: {% for part in m['content'] -%}
{{ '<image>\\n' if part['type'] == 'image' else part['text'] }}{% endfor %}{% endfor %} ASSISTANT:"""
TEXT = "{% for m in messages %}{{ 'USER: ' + m['content'] }}{% endfor %} ASSISTANT:"
PRINTED = "{% for m in messages %}USER: {{ m['content'] }}{% endfor %} ASSISTANT:"


@pytest.mark.parametrize("template", [PARTS, TEXT, PRINTED], ids=["parts", "text", "printed"])
def test_content_is_given_as_the_template_reads_it(answerer, monkeypatch, template):
    """One that adds texts fails on parts; one that prints its content shows them as they are written in Python."""
    monkeypatch.setattr(answerer._tokenizer, "chat_template", None)
    plain = answerer._frames.split("What is there?")
    monkeypatch.setattr(answerer._tokenizer, "chat_template", template)
    assert answerer._frames.split("What is there?") == plain


def test_a_prompt_has_a_place_for_each_picture(answerer, model, monkeypatch):
    """Of which the second is read too; a template that shows one alone is refused."""
    pictures = [visual_tokens(model, scene, "fastervlm", keep=64)[1] for scene in SCENES[:2]]
    before, after = answerer._frames.split("What is there?", [("", ""), ("", "")])
    assert len(before) == 2 and after == answerer._frames.split("What is there?")[1]
    both = answerer.answer(pictures, ["Describe the image."], longest=4)
    assert both != answerer.answer(pictures[::-1], ["Describe the image."], longest=4)
    assert answerer.answer(pictures[:1], ["?"], longest=2) == answerer.answer(pictures[0], ["?"], longest=2)
    with pytest.raises(SpecError, match="no pictures were given"):
        answerer.answer([], ["?"])
    monkeypatch.setattr(answerer._tokenizer, "chat_template", "<image>{{ messages[0]['content'][-1]['text'] }}")
    with pytest.raises(ModelError, match="it puts 1 images into the prompt, and 2 are needed"):
        answerer.answer(pictures, ["?"])


def test_several_pictures_are_refused_where_the_model_sees_them_without_tiles(answerer, model, monkeypatch):
    monkeypatch.setattr(answerer._model.config, "model_type", "llava_onevision")
    _, picture = visual_tokens(model, SCENES[0], "fastervlm", keep=4)
    assert answerer.answer(picture, ["?"], longest=1)
    with pytest.raises(ModelError, match="llava_onevision sees several images of one prompt without tiles"):
        answerer.answer([picture, picture], ["?"])


@pytest.mark.parametrize(
    ("template", "words"),
    [("{{ messages[0]['content'].nothing() }}", "nothing"), ("hello", "0 images"), ("{% if", "unexpected")],
)
def test_a_template_that_cannot_be_used_is_a_sentence(answerer, monkeypatch, template, words):
    monkeypatch.setattr(answerer._tokenizer, "chat_template", template)
    with pytest.raises(ModelError, match=f"the chat template cannot be used: .*{words}") as caught:
        answerer._frames.split("What is there?")
    assert "\n" not in str(caught.value)


def test_what_is_seen_matters(answerer, model):
    """The same question about two pictures: the tokens are really read."""
    texts = [
        [a.text for a in answerer.answer(visual_tokens(model, scene)[1], ["Describe the image."])] for scene in SCENES
    ]
    assert len({text for (text,) in texts}) == len(SCENES)


def test_the_gap_is_that_of_the_two_best_logits(answerer, model):
    _, tokens = visual_tokens(model, SCENES[0])
    (answer,) = answerer.answer(tokens, [SCENES[0].questions[0].prompt])
    assert len(answer.gaps) == len(answer.ids) + 1  # and one for the end mark
    assert min(answer.gaps) > 0


def test_answers_end(answerer, model):
    _, tokens = visual_tokens(model, SCENES[0])
    (answer,) = answerer.answer(tokens, ["Describe the image."], longest=3)
    assert len(answer.ids) == 3


def test_a_checkpoint_without_a_language_model_is_one_sentence(small_llava):
    with pytest.raises(ModelError, match="no language model that answers can come from"):
        Answerer(str(small_llava))


@pytest.mark.parametrize("family", ["gemma3", "paligemma"])
def test_a_language_model_that_attends_both_ways_is_refused(tmp_path, family):
    """It would be given a causal sequence, and answer otherwise than in Transformers."""
    writer = importlib.import_module(f"tests.laws.checkpoints.{family}").WRITERS[0]
    writer(tmp_path)
    AutoTokenizer.from_pretrained(source_of("tiny-llava")).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=f"the language model of {family} attends both ways among a picture's tokens"):
        Answerer(str(tmp_path))


def test_the_language_model_computes_where_and_with_what_it_is_told(model):
    narrow = Answerer(source_of("tiny-llava"), dtype="bfloat16")
    assert {parameter.dtype for parameter in narrow._model.parameters()} == {torch.bfloat16}
    _, tokens = visual_tokens(model, SCENES[0])
    (answer,) = narrow.answer(tokens, [SCENES[0].questions[0].prompt])
    assert np.isfinite(answer.gaps).all()
    with pytest.raises(UnknownNameError, match="no dtype named 'float8'"):
        Answerer(source_of("tiny-llava"), dtype="float8")
    with pytest.raises(UnknownNameError, match="no device named 'gpu'"):
        Answerer(source_of("tiny-llava"), device="gpu")
    if torch.version.cuda is None:
        with pytest.raises(UnavailableError, match="without CUDA"):
            Answerer(source_of("tiny-llava"), device="cuda")


def test_a_picture_in_tiles_is_answered_about_as_by_generate(tmp_path):
    """Plain Transformers: its own tiles, tower, packing, splice and greedy decoding. Random weights: any words do."""
    from transformers import LlavaConfig, LlavaNextForConditionalGeneration
    from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil

    known = LlavaConfig.from_pretrained(source_of("tiny-llava"))
    torch.manual_seed(5)
    llava_next(tmp_path, text_config=known.text_config, image_token_index=known.image_token_id)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(Path(source_of("tiny-llava")) / name, tmp_path)
    plain = LlavaNextForConditionalGeneration.from_pretrained(tmp_path, dtype=torch.float32).eval()
    answerer, photo = Answerer(str(tmp_path)), SCENES[0].open()
    loaded, packing = packed(load_model(tmp_path), {})
    graph = assemble(loaded, "none", {})
    picture = packer_for(loaded, graph.layout, packing).picture(photo, EagerSession(graph.graph))
    (answer,) = answerer.answer(picture, ["Describe the image."], longest=8)
    (before,), after = answerer._frames.split("Describe the image.")
    ids = torch.tensor([[*before, *[known.image_token_id] * len(picture.tokens), *after]])
    seen = LlavaNextImageProcessorPil.from_pretrained(tmp_path)(images=[photo], return_tensors="pt")
    told = {"output_logits": True, "return_dict_in_generate": True, "max_new_tokens": 8, "do_sample": False}
    out = plain.generate(input_ids=ids, **seen, **told)
    best = torch.cat(out.logits).topk(2, dim=-1).values
    assert list(answer.ids) == out.sequences[0, ids.shape[1] :].tolist()
    np.testing.assert_allclose(answer.gaps, best[:, 0] - best[:, 1], atol=1e-4)
