"""Models whose tiles fill their canvas, and that read the whole picture last, through every command."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from tests.laws.checkpoints import idefics3, internvl, smolvlm
from tests.models.test_filled_tiles import blurred
from tests.models.test_towers import lively
from vtp_export.errors import SpecError
from vtp_export.graphs.assembly import source_of
from vtp_export.integrations.transformers import Answerer
from vtp_export.manifests import refuse_contradictions
from vtp_export.pipeline.check import check
from vtp_export.pipeline.explain import explain
from vtp_export.pipeline.export import export
from vtp_export.pipeline.run import run
from vtp_export.pipeline.validate import validate
from vtp_export.runtime.artefact import open_artefact
from vtp_export.runtime.front_end import load
from vtp_export.runtime.preprocess import pixel_values

FORMATS = ("onnx", "openvino", "pt2")
SETTINGS = {"keep": 5, "average": 5.0}
SIZES = [(90, 40), (33, 70), (300, 280), (56, 56)]
TEXT = {"hidden_size": 48, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
MARKS = ["<img>", "</img>", "<fake_token_around_image>", "<global-img>", "\n", "\n\n"]
PLACES = [f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)]
IMAGE = 4
"""Id of `<image>` in the embedded tokenizer."""


def write_internvl(folder):
    text = {"model_type": "qwen2", "num_key_value_heads": 1, "vocab_size": 96, **TEXT}
    return internvl.internvl(folder, text=text, image_token_id=IMAGE)


def write_smolvlm(folder):
    return smolvlm.smolvlm(folder, text={**TEXT, "vocab_size": 96}, image_token_id=IMAGE)


def write_idefics3(folder):
    return idefics3.idefics3(folder, text={**TEXT, "vocab_size": 96}, image_token_id=IMAGE)


WRITERS = {"internvl": write_internvl, "smolvlm": write_smolvlm, "idefics3": write_idefics3}


def write_tokenizer(folder):
    """The embedded one, with the words that stand among visual tokens."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(source_of("tiny-llava"))
    tokenizer.add_tokens([*MARKS, *PLACES], special_tokens=True)
    tokenizer.save_pretrained(folder)


@pytest.fixture(
    scope="module",
    params=["internvl", *(pytest.param(name, marks=pytest.mark.whole) for name in ("smolvlm", "idefics3"))],
)
def model(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    torch.manual_seed(3)
    WRITERS[request.param](folder)
    lively(folder)
    write_tokenizer(folder)
    return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for seed, size in enumerate(SIZES):
        blurred(size, seed).save(folder / f"{seed}.png")
    return folder


@pytest.fixture(scope="module")
def artefact(model, tmp_path_factory):
    out = tmp_path_factory.mktemp("artefacts") / "tiles"
    export(model, out, settings=SETTINGS, signals=True, golden=4)
    return out


@pytest.fixture(scope="module")
def everything(model, tmp_path_factory):
    """Every token kept."""
    out = tmp_path_factory.mktemp("artefacts") / "all"
    export(model, out, pruner="none", golden=0)
    return out


MARKED = {
    "image_token": "<image>",
    "image_seq_length": 16,
    "start_image_token": "<img>",
    "end_image_token": "</img>",
    "image_seq_len": 16,
    "fake_image_token": "<fake_token_around_image>",
    "global_image_token": "<global-img>",
    "global_image_tag": "<global-img>",
}
"""What Transformers' processors of pictures and text know of themselves and of their tokenizer."""


def of_transformers(model):
    """The model, and what makes its inputs of a prompt and an image: its own image processor, its own text."""
    import transformers

    auto = transformers.AutoModelForImageTextToText
    plain = auto.from_pretrained(model, dtype=torch.float32).eval().requires_grad_(False)
    tokenizer = transformers.AutoTokenizer.from_pretrained(model)
    images = transformers.AutoImageProcessor.from_pretrained(model, backend="pil")
    kind = {"internvl": "InternVL", "smolvlm": "SmolVLM", "idefics3": "Idefics3"}[plain.config.model_type]
    processor = getattr(transformers, f"{kind}Processor")
    told = {"crop_to_patches": True} if kind == "InternVL" else {"return_row_col_info": True}

    def given(prompt, *shown):
        seen = images(images=[list(shown)], return_tensors="pt", **told)
        texts = [processor.replace_image_token(SimpleNamespace(**MARKED), seen, at) for at in range(len(shown))]
        first, *others = prompt.split("<image>")
        words = tokenizer(first + "".join(map(str.__add__, texts, others)), return_tensors="pt")
        return {**words, "pixel_values": seen["pixel_values"]}

    return plain, given


def test_with_everything_kept_the_language_model_reads_what_it_reads_in_transformers(model, everything, photos):
    """Its own tiles, tower, text and splice; at every place of the prompt, and of one word after another."""
    plain, inputs = of_transformers(model)
    answerer = Answerer(str(model))
    (prompt,) = (made() for made in answerer._frames._prompts("Describe the image.", 1, "<image>")[:1])
    with load(everything) as front_end, torch.no_grad():
        for path, picture in zip(sorted(photos.iterdir()), front_end.pictures(photos), strict=True):
            given = inputs(prompt, Image.open(path))
            before, after = answerer._frames.split("Describe the image.", [picture.text])
            spliced = torch.cat([answerer._spliced(before, [picture]), answerer._embed([after])], dim=1)
            assert spliced.shape[1] == given["input_ids"].shape[1]
            wanted = plain(**given).logits
            found = answerer._model(inputs_embeds=spliced).logits
            torch.testing.assert_close(found, wanted, atol=1e-5 * wanted.abs().max().item(), rtol=0)
            (answer,) = answerer.answer(picture, ["Describe the image."], longest=6)
            told = {"output_logits": True, "return_dict_in_generate": True, "max_new_tokens": 6, "do_sample": False}
            out = plain.generate(**given, **told)
            best = torch.cat(out.logits).topk(2, dim=-1).values
            assert list(answer.ids) == out.sequences[0, given["input_ids"].shape[1] :].tolist()[: len(answer.ids)]
            np.testing.assert_allclose(answer.gaps, best[:, 0] - best[:, 1], atol=1e-4)


def test_two_pictures_of_a_prompt_are_read_as_in_transformers(model, everything, photos):
    """Of other sizes, so cut otherwise."""
    plain, inputs = of_transformers(model)
    answerer, paths = Answerer(str(model)), [photos / "0.png", photos / "2.png"]
    (prompt,) = (made() for made in answerer._frames._prompts("Describe the images.", 2, "<image>")[:1])
    given = inputs(prompt, *map(Image.open, paths))
    with load(everything) as front_end, torch.no_grad():
        pictures = list(front_end.pictures(paths))
        before, after = answerer._frames.split("Describe the images.", [picture.text for picture in pictures])
        cache, start = answerer._begun(before, pictures)
        spliced = torch.cat([answerer._spliced(before, pictures), answerer._embed([after])], dim=1)
        wanted, found = plain(**given).logits, answerer._model(inputs_embeds=spliced).logits
        step = answerer._model(inputs_embeds=answerer._embed([after]), past_key_values=cache).logits
    assert start is None
    for logits, expected in ((found, wanted), (step, wanted[:, -len(after) :])):
        torch.testing.assert_close(logits, expected, atol=1e-5 * wanted.abs().max().item(), rtol=0)


def test_each_view_is_pruned_by_itself_and_read_in_the_order_of_the_model(artefact, photos):
    with load(artefact) as front_end:
        (picture,) = front_end.pictures(photos / "0.png")
        alone = front_end.run(pixel_values(photos / "0.png", front_end.manifest.preprocessing))
    assert len(picture.views) == len(alone) > 2
    assert len({view.erank for view in picture.views}) == len(alone)
    order = [*range(1, len(alone)), 0]
    assert picture.kept.tolist() == [kept for view in order for kept in alone[view].kept.tolist()]
    np.testing.assert_array_equal(picture.tokens, np.concatenate([alone[view].tokens for view in order]))


@pytest.mark.whole
def test_formats_keep_the_same(model, photos, tmp_path):
    export(model, tmp_path / "out", settings=SETTINGS, formats=FORMATS, golden=4)
    assert check(tmp_path / "out").passed
    assert validate(tmp_path / "out", benchmark=photos).failures == ()
    with load(tmp_path / "out", "onnx") as onnx:
        wanted = list(onnx.pictures(photos))
    for fmt in FORMATS:
        with load(tmp_path / "out", fmt) as front_end:
            for made, expected in zip(front_end.pictures(photos), wanted, strict=True):
                np.testing.assert_array_equal(made.kept, expected.kept)
                np.testing.assert_allclose(made.tokens, expected.tokens, atol=1e-4)


def test_the_proofs_hold(artefact, photos):
    assert check(artefact).passed
    report = validate(artefact, benchmark=photos)
    assert report.failures == ()
    assert report.pixels[1].name.startswith("preprocessing against Transformers' ")


@pytest.mark.whole
def test_fewer_tiles_are_proved_too(model, photos, tmp_path):
    export(model, tmp_path / "out", settings=SETTINGS, golden=0, packing={"tiles": 4})
    with load(tmp_path / "out") as front_end:
        assert all(len(picture.views) <= 5 for picture in front_end.pictures(photos))
    assert validate(tmp_path / "out", benchmark=photos, limit=2).failures == ()


def test_pictures_are_run_drawn_and_explained(artefact, photos, tmp_path):
    report = run(artefact, [photos], out=tmp_path / "tokens.npz", overlays=tmp_path / "pictures")
    arrays = np.load(tmp_path / "tokens.npz")
    with load(artefact) as front_end:
        pictures = list(front_end.pictures(photos))
    np.testing.assert_array_equal(arrays["tokens"], np.concatenate([one.tokens for one in pictures]))
    assert [len(one.views) for one in report.images] == [len(one.views) for one in pictures]
    for one in report.images:
        with Image.open(one.overlay) as drawn:
            assert max(drawn.size) >= 512
    reasons = explain(artefact, photos / "0.png", tile=1).explanation.reasons
    assert {reason.token for reason in reasons if reason.kept} == set(pictures[0].views[1].kept.tolist())


def test_a_manifest_that_contradicts_itself_is_refused(artefact):
    manifest = open_artefact(artefact).manifest
    prep, packing = manifest.preprocessing, manifest.packing
    for wrong, words in (
        ({"packing": dataclasses.replace(packing, unpad=True)}, "packing has something to add or to drop"),
        ({"preprocessing": dataclasses.replace(prep, filling="fit", resize_longest=None)}, "text stands among their"),
        ({"preprocessing": dataclasses.replace(prep, filling="grow", resize_longest=None)}, "their long edge becomes"),
        ({"preprocessing": dataclasses.replace(prep, filling="stretch", resize_longest=64)}, "their long edge becomes"),
    ):
        with pytest.raises(SpecError, match=words):
            refuse_contradictions(dataclasses.replace(manifest, **wrong))
