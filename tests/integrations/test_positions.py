"""A language model that counts rows and columns reads pruned tokens where they stood, and its own text behind them."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageTextToText, AutoTokenizer

from tests.models.test_grid_towers import WRITERS, calm
from vtp_export.errors import VtpWarning
from vtp_export.graphs.assembly import assemble, load_model, needs_of, source_of
from vtp_export.graphs.eager import EagerSession
from vtp_export.graphs.packing import packer_for
from vtp_export.integrations.transformers import Answerer
from vtp_export.models._sizes import AskedSize
from vtp_export.pipeline.compare import compare
from vtp_export.pipeline.export import export
from vtp_export.pipeline.validate import validate

IMAGE = 4
"""Id of `<image>` in the embedded tokenizer."""
GRIDS = ((5, 6), (6, 3))
BEFORE, AFTER = (7, 3, 9), (14, 8, 15, 2)
"""Tokens of the prompt, before and after the picture."""


@pytest.fixture(scope="module", params=["qwen2_5_vl", "qwen2_vl", "qwen3_vl", "qwen3_5"])
def model(request, tmp_path_factory):
    """A checkpoint whose words have ids below 64."""
    folder = tmp_path_factory.mktemp(request.param)
    WRITERS[request.param](folder)
    calm(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "image_token_id": IMAGE}))
    AutoTokenizer.from_pretrained(source_of("tiny-llava")).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def plain(model):
    return AutoModelForImageTextToText.from_pretrained(model, dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def answerer(model):
    return Answerer(str(model))


@pytest.fixture(params=GRIDS, ids=str)
def photo(request):
    rows, columns = request.param
    noise = np.random.default_rng(rows).integers(0, 256, (rows * 8, columns * 8, 3), dtype=np.uint8)
    return Image.fromarray(noise)


def is_linear(plain):
    """Whether a layer reads its tokens one after the other."""
    return "linear_attention" in (getattr(plain.config.text_config, "layer_types", None) or ())


def picture_of(model, photo, pruner="none", **settings):
    """What the language model is to read of a photo of that size."""
    loaded = load_model(model, needs_of(pruner, settings), size=AskedSize(image_size=photo.size))
    assembly = assemble(loaded, pruner, settings)
    return packer_for(loaded, assembly.layout, None).picture(photo, EagerSession(assembly.graph))


def given(model, photo, ids):
    """As Transformers is called with a photo, or several, and a prompt of which as many tokens are pictures."""
    photos = photo if isinstance(photo, list) else [photo]
    made = AutoImageProcessor.from_pretrained(model, backend="pil")(images=photos, return_tensors="pt")
    counts = iter((made["image_grid_thw"].prod(-1) // 4).tolist())
    ids = [token for one in ids for token in ([one] * next(counts) if one == IMAGE else [one])]
    kinds = [[int(token == IMAGE) for token in ids]]
    return {**made, "input_ids": torch.tensor([ids]), "mm_token_type_ids": torch.tensor(kinds)}


@torch.inference_mode()
def logits_of(answerer, pictures, before, after):
    """Of each of `after`, fed as one step of a cache of the prompt up to and with the pictures."""
    cache, start = answerer._begun(before, pictures)
    steps = []
    for token in after:
        places = torch.full((3, 1, 1), start + len(steps))
        out = answerer._model(
            inputs_embeds=answerer._embed([[token]]), past_key_values=cache, use_cache=True, position_ids=places
        )
        steps.append(out.logits[0, -1])
    return torch.stack(steps)


def test_with_everything_kept_it_reads_what_it_reads_in_transformers(model, plain, answerer, photo):
    """Whole, and token by token through the cache: linear attention rounds otherwise there."""
    found = logits_of(answerer, [picture_of(model, photo)], [BEFORE], AFTER)
    with torch.inference_mode():
        whole = plain(**given(model, photo, (*BEFORE, IMAGE, *AFTER))).logits[0, -len(AFTER) :]
        cache = plain(**given(model, photo, (*BEFORE, IMAGE)), use_cache=True).past_key_values
        steps = [plain(torch.tensor([[token]]), past_key_values=cache).logits[0, -1] for token in AFTER]
    for wanted in (torch.stack(steps), *([] if is_linear(plain) else [whole])):
        torch.testing.assert_close(found, wanted, atol=1e-5 * wanted.abs().max().item(), rtol=0)


BETWEEN = (11, 6)
"""Tokens of the prompt between two pictures."""


def photos_of(*grids):
    """Photographs that get those grids, each another."""
    draw = np.random.default_rng(9)
    return [Image.fromarray(draw.integers(0, 256, (8 * rows, 8 * columns, 3), np.uint8)) for rows, columns in grids]


@pytest.mark.parametrize("other", [(2, 3), (1, 4)], ids=["same grid", "another grid"])
def test_two_pictures_of_a_prompt_stand_behind_one_another_as_in_transformers(model, plain, answerer, other):
    """With text between; whole, and through the cache."""
    photos, before = photos_of((2, 3), other), (BEFORE, BETWEEN)
    pictures = [picture_of(model, photo) for photo in photos]
    made = logits_of(answerer, pictures, before, AFTER)
    prompt = (*BEFORE, IMAGE, *BETWEEN, IMAGE)
    with torch.inference_mode():
        whole = plain(**given(model, photos, (*prompt, *AFTER))).logits[0, -len(AFTER) :]
        cache = plain(**given(model, photos, prompt), use_cache=True).past_key_values
        steps = [plain(torch.tensor([[token]]), past_key_values=cache).logits[0, -1] for token in AFTER]
    for wanted in (torch.stack(steps), *([] if is_linear(plain) else [whole])):
        torch.testing.assert_close(made, wanted, atol=1e-5 * wanted.abs().max().item(), rtol=0)
    changed = logits_of(answerer, pictures[::-1], before, AFTER)
    assert not torch.allclose(changed, made, atol=1e-5 * made.abs().max().item())


def test_two_pruned_pictures_stand_where_they_stood(model, plain, answerer):
    """As if Transformers' own model were shown both, and attended to what was kept of each alone."""
    if is_linear(plain):
        pytest.skip("a layer that reads its tokens one after the other cannot pass over any")
    photos, before = photos_of((2, 3), (2, 3)), (BEFORE, BETWEEN)
    pictures = [picture_of(model, photo, "fastervlm", keep=keep) for photo, keep in zip(photos, (3, 2), strict=True)]
    inputs = given(model, photos, (*BEFORE, IMAGE, *BETWEEN, IMAGE, *AFTER))
    mask, start = torch.ones_like(inputs["input_ids"]), 0
    for text, picture in zip(before, pictures, strict=True):
        mask[0, start + len(text) + np.setdiff1d(np.arange(6), picture.kept)] = 0
        start += len(text) + 6
    positions, _ = plain.model.get_rope_index(
        inputs["input_ids"], mm_token_type_ids=inputs["mm_token_type_ids"], image_grid_thw=inputs["image_grid_thw"]
    )
    with torch.inference_mode():
        wanted = plain(**inputs, attention_mask=mask, position_ids=positions).logits[0, -len(AFTER) :]
    made = logits_of(answerer, pictures, before, AFTER)
    torch.testing.assert_close(made, wanted, atol=1e-5 * wanted.abs().max().item(), rtol=0)


def test_an_answer_is_that_of_transformers(monkeypatch, model, plain, answerer, photo):
    monkeypatch.setattr(answerer._frames, "split", lambda question, texts: ((BEFORE,), AFTER))
    monkeypatch.setattr(answerer, "_ends", {-1})
    (answer,) = answerer.answer(picture_of(model, photo), ["?"], longest=6)
    told = {"output_logits": True, "return_dict_in_generate": True, "max_new_tokens": 6, "do_sample": False}
    inputs = given(model, photo, (*BEFORE, IMAGE, *AFTER))
    out = plain.generate(**inputs, **told, eos_token_id=None, pad_token_id=0)
    assert list(answer.ids) == out.sequences[0, inputs["input_ids"].shape[1] :].tolist()
    best = torch.cat(out.logits).topk(2, dim=-1).values
    np.testing.assert_allclose(answer.gaps, best[:, 0] - best[:, 1], atol=1e-4)


def test_questions_of_a_batch_are_answered_as_alone(monkeypatch, model, answerer, photo):
    asked = {"a": AFTER, "b": (5, 6, 7, 8), "c": (9, 1)}
    monkeypatch.setattr(answerer._frames, "split", lambda question, texts: ((BEFORE,), asked[question]))
    monkeypatch.setattr(answerer, "_ends", {-1})
    picture = picture_of(model, photo, "fastervlm", keep=7)
    together = answerer.answer(picture, list(asked), longest=4)
    for question, answer in zip(asked, together, strict=True):
        (alone,) = answerer.answer(picture, [question], longest=4)
        assert alone.ids == answer.ids


def test_pruned_tokens_stand_where_they_stood(model, plain, answerer, photo):
    """As if Transformers' own model were shown the picture, and attended to what was kept of it alone."""
    picture, whole = picture_of(model, photo, "fastervlm", keep=7), picture_of(model, photo)
    if is_linear(plain):
        pytest.skip("a layer that reads its tokens one after the other cannot pass over any")
    inputs = given(model, photo, (*BEFORE, IMAGE, *AFTER))
    mask = torch.ones_like(inputs["input_ids"])
    dropped = np.setdiff1d(whole.kept, picture.kept)
    mask[0, len(BEFORE) + torch.from_numpy(dropped)] = 0
    ids, kinds = inputs["input_ids"], inputs["mm_token_type_ids"]
    positions, _ = plain.model.get_rope_index(ids, mm_token_type_ids=kinds, image_grid_thw=inputs["image_grid_thw"])
    with torch.inference_mode():
        wanted = plain(**inputs, attention_mask=mask, position_ids=positions).logits[0, -len(AFTER) :]
    found = logits_of(answerer, [picture], [BEFORE], AFTER)
    torch.testing.assert_close(found, wanted, atol=1e-5 * wanted.abs().max().item(), rtol=0)
    moved = dataclasses.replace(picture, extent=picture.extent + 1)
    assert not torch.allclose(logits_of(answerer, [moved], [BEFORE], AFTER), wanted, atol=1e-5)


def test_commands_ask_it(model, plain, tmp_path):
    """Methods side by side, and the answers of a format against the graph's."""
    if is_linear(plain):
        pytest.skip("its questions are asked one by one, which takes long")
    with pytest.warns(VtpWarning, match="the graph is for pictures of 5 x 6 tokens"):
        report = compare(str(model), [5], benchmark="shapes", pruners="fastervlm", limit=1, grid="5x6")
    assert [row.method for row in report.benchmarks[0].rows] == ["none", "fastervlm"]
    export(model, tmp_path / "own", pruner="fastervlm", keep=5, formats="torchscript", grid="5x6", golden=0)
    result = validate(tmp_path / "own", benchmark="shapes", limit=1, answers=True)
    assert result.passed
    assert result.answers[0].identical == result.answers[0].questions > 0
