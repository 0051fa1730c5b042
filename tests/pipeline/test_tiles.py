"""A model that sees a picture as a whole and in tiles, through every command."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import LlavaConfig

from tests.laws.checkpoints.llava_next import llava_next
from tests.models.test_towers import lively
from vtp_export.errors import ArtefactError, ImageError, SpecError, UnavailableError, UnknownNameError
from vtp_export.graphs.assembly import assemble, load_model, source_of
from vtp_export.graphs.complexity import EagerEngine
from vtp_export.graphs.eager import EagerSession
from vtp_export.graphs.packing import packed, packer_for, settings_of
from vtp_export.parity.claims import false_claims
from vtp_export.pipeline.calibrate import calibrate
from vtp_export.pipeline.check import check
from vtp_export.pipeline.compare import compare
from vtp_export.pipeline.explain import explain
from vtp_export.pipeline.export import export
from vtp_export.pipeline.run import run
from vtp_export.pipeline.validate import validate
from vtp_export.runtime.artefact import open_artefact
from vtp_export.runtime.front_end import load
from vtp_export.runtime.packing import NEWLINE, newline_record
from vtp_export.runtime.preprocess import pixel_values

SETTINGS = {"keep": 6, "average": 5.0}
SIZE = (90, 40)  # three tiles, side by side, with a bar of a column of tokens at either end


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("next")
    torch.manual_seed(3)
    llava_next(folder)
    lively(folder)
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


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for seed, size in enumerate((SIZE, (33, 70), (300, 280))):
        noise = np.random.default_rng(seed).integers(0, 256, (size[1] // 3 + 1, size[0] // 3 + 1, 3), dtype=np.uint8)
        Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC).save(folder / f"{seed}.png")
    return folder


def test_unpruned_pictures_are_the_image_features_of_transformers(model, everything, photos):
    from transformers import LlavaNextForConditionalGeneration
    from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil

    plain = LlavaNextForConditionalGeneration.from_pretrained(model, dtype=torch.float32).eval()
    processor = LlavaNextImageProcessorPil.from_pretrained(model)
    with load(everything) as front_end, torch.no_grad():
        for path, picture in zip(sorted(photos.iterdir()), front_end.pictures(photos), strict=True):
            given = processor(images=[Image.open(path)], return_tensors="pt")
            (wanted,) = plain.model.get_image_features(given["pixel_values"], given["image_sizes"]).pooler_output
            np.testing.assert_allclose(picture.tokens, wanted.numpy(), atol=1e-5, rtol=1e-5)


def test_results_of_other_views_than_a_picture_has_are_refused(artefact, photos):
    with load(artefact) as front_end:
        (picture,) = front_end.pictures(photos / "0.png")
        with pytest.raises(SpecError, match="90 x 40 pixels, has 4 views, and results of 3 were given"):
            front_end.packer.pack(picture.views[:3], SIZE)


def test_each_view_is_pruned_by_itself_and_joined_by_place(artefact, photos):
    with load(artefact) as front_end:
        (picture,) = front_end.pictures(photos / "0.png")
        alone = front_end.run(pixel_values(photos / "0.png", front_end.manifest.preprocessing))
        newline = np.load(artefact / NEWLINE)
    assert len(picture.views) == len(alone) == 4
    assert len({view.erank for view in picture.views}) == 4
    assert picture.kept_by_view[0].tolist() == alone[0].kept.tolist()
    places = []
    for token, view, kept in zip(picture.tokens, picture.view, picture.kept, strict=True):
        if view > 0:
            own = alone[int(view)]
            np.testing.assert_array_equal(token, own.tokens[own.kept.tolist().index(kept)])
            places.append((kept // 4, (view - 1) * 4 + kept % 4))
        elif view < 0:
            np.testing.assert_array_equal(token, newline)
            places.append((places[-1][0], 12))  # after a row that kept a token
    assert places == sorted(set(places))
    rows = {row for row, column in places if column < 12}
    assert rows == {row for row, column in places if column == 12}
    assert picture.newlines == len(rows)
    assert {column for _, column in places} <= set(range(1, 11)) | {12}
    dropped = sum(view.num_kept for view in picture.views) + picture.newlines - len(picture.tokens)
    assert dropped == sum(kept % 4 == 0 for kept in alone[1].kept) + sum(kept % 4 == 3 for kept in alone[3].kept)


@pytest.mark.parametrize(
    ("packing", "tokens"),
    [
        ({}, 16 + 4 * (10 + 1)),
        ({"newlines": "none"}, 16 + 40),
        ({"unpad": "false"}, 16 + 4 * 13),
        ({"tiles": 2}, 16 + 36),
    ],
)
def test_what_is_chosen_of_packing_is_done(model, photos, packing, tokens):
    loaded, record = packed(load_model(model), packing)
    assembly = assemble(loaded, "none", {})
    picture = packer_for(loaded, assembly.layout, record).picture(photos / "0.png", EagerSession(assembly.graph))
    assert len(picture.tokens) == tokens


def test_what_is_chosen_of_packing_is_in_the_manifest_and_is_proved(model, photos, tmp_path):
    """Canvases that are left out are left out of what Transformers cuts, too."""
    packing = {"newlines": "none", "unpad": "false", "tiles": 2}
    export(model, tmp_path / "out", settings=SETTINGS, formats="torchscript", golden=0, packing=packing)
    record = open_artefact(tmp_path / "out").manifest.packing
    assert (record.newlines, record.unpad, record.tiles, record.files) == ("none", False, 2, {})
    assert not (tmp_path / "out" / NEWLINE).exists()
    report = validate(tmp_path / "out", benchmark=photos, limit=1)
    assert [one.name for one in report.pixels][1] == "preprocessing against Transformers' LlavaNextImageProcessorPil"
    assert report.failures == ()


def test_the_proofs_hold_for_views(artefact, photos):
    assert validate(artefact, benchmark=photos).failures == ()
    report = check(artefact)
    assert report.passed
    assert report.pictures == 5  # the views of as many whole photographs as it takes to have four


def test_the_packing_of_a_manifest_is_not_believed(model, artefact):
    manifest = open_artefact(artefact).manifest
    lie = dataclasses.replace(manifest.packing, files=newline_record(np.zeros(48)), anyres_max=3)
    assert packed(load_model(model), settings_of(lie))[1] == manifest.packing
    told = false_claims(dataclasses.replace(manifest, packing=lie), manifest)
    assert [sentence.split()[0] for sentence in told] == ["packing.anyres_max", "packing.files.newline.npy.sha256"]


def test_run_writes_packed_tokens_and_draws_tiles(artefact, photos, tmp_path):
    report = run(artefact, [photos], out=tmp_path / "tokens.npz", overlays=tmp_path / "pictures")
    arrays = np.load(tmp_path / "tokens.npz")
    with load(artefact) as front_end:
        pictures = list(front_end.pictures(photos))
    np.testing.assert_array_equal(arrays["num_tokens"], [len(one.tokens) for one in pictures])
    np.testing.assert_array_equal(arrays["tokens"], np.concatenate([one.tokens for one in pictures]))
    np.testing.assert_array_equal(arrays["view"], np.concatenate([one.view for one in pictures]))
    assert arrays["erank"].shape == (arrays["num_views"].sum(),)
    first = report.images[0]
    assert (first.num_kept, len(first.views)) == (len(pictures[0].tokens), 4)
    with Image.open(first.overlay) as drawn:
        assert drawn.width > 2 * 500 and drawn.height < 300  # two panels of a photo of 90 x 40


def test_explain_tells_of_a_tile(artefact, photos, tmp_path):
    for tile in range(4):
        report = explain(artefact, photos / "0.png", tile=tile, out=tmp_path / "why.png")
        with load(artefact) as front_end:
            (picture,) = front_end.pictures(photos / "0.png")
        kept = {reason.token for reason in report.explanation.reasons if reason.kept}
        assert kept == set(picture.views[tile].kept.tolist())
    with pytest.raises(SpecError, match=r"there is no tile 4 of .*; it must be 0, the whole photo, to 3"):
        explain(artefact, photos / "0.png", tile=4)


def test_explain_takes_a_view_of_the_golden_record(artefact):
    record = json.loads((artefact / "golden" / "record.json").read_text())
    name = record["pictures"][1]["name"]
    assert (record["pictures"][0]["name"], record["pictures"][1]["view"]) == (name, 1)
    assert explain(artefact, name, tile=1).explanation.reasons


def test_a_call_would_forget_tiles_and_is_refused(artefact, photos):
    with load(artefact) as front_end:
        with pytest.raises(UnavailableError, match=r"several views to this model.*call pictures\(images\)"):
            front_end(photos / "0.png")
        with pytest.raises(UnavailableError, match="several views"):
            next(front_end.stream(photos))


def test_views_run_in_as_many_runs_as_the_batch_asks_for(model, everything, photos, tmp_path):
    export(model, tmp_path / "two", pruner="none", golden=0, batch=2)
    with load(tmp_path / "two") as two, load(everything) as many:
        for one, other in zip(two.pictures(photos), many.pictures(photos), strict=True):
            np.testing.assert_allclose(one.tokens, other.tokens, atol=1e-5)
        with pytest.raises(ImageError, match="the batch has 4 images and this artefact takes 2 to 2"):
            two.run(pixel_values(photos / "0.png", two.manifest.preprocessing))


def test_a_damaged_newline_is_told(model, photos, tmp_path):
    export(model, tmp_path / "out", pruner="none", golden=0)
    file = tmp_path / "out" / NEWLINE
    file.write_bytes(file.read_bytes()[:-1] + b"!")
    with load(tmp_path / "out") as front_end, pytest.raises(ArtefactError, match=r"newline\.npy' is damaged"):
        next(front_end.pictures(photos))
    file.unlink()
    with load(tmp_path / "out") as front_end, pytest.raises(ArtefactError, match=r"newline\.npy' is missing"):
        next(front_end.pictures(photos))


@pytest.mark.parametrize(
    ("packing", "error", "words"),
    [
        ({"newlines": "all"}, SpecError, "newlines is 'all'; it must be one of: rows, none"),
        ({"unpad": "maybe"}, SpecError, "unpad is 'maybe'; it must be true or false"),
        ({"tiles": 1}, SpecError, r"tiles is 1, and .* cuts a picture into 2 or more"),
        ({"tile": 2}, UnknownNameError, "no setting of packing named 'tile'"),
    ],
)
def test_packing_that_cannot_be_is_one_sentence(model, tmp_path, packing, error, words):
    with pytest.raises(error, match=words):
        export(model, tmp_path / "out", pruner="none", golden=0, packing=packing)


def test_a_model_of_one_view_has_nothing_to_pack(tmp_path):
    with pytest.raises(SpecError, match="a picture is one view to 'toy', so that nothing is packed; leave out unpad"):
        export("toy", tmp_path / "out", packing={"unpad": False})
    export("toy", tmp_path / "toy", keep=8, formats="torchscript", golden=0)
    with load(tmp_path / "toy") as front_end:
        photo = Image.new("RGB", (50, 40), (200, 30, 30))
        (picture,), output = front_end.pictures(photo), front_end(photo)
    np.testing.assert_array_equal(picture.tokens, output[0].tokens)
    assert picture.view.tolist() == [0] * len(picture.kept)


def test_calibration_measures_views_and_goes_on_where_it_was_interrupted(model, photos, tmp_path, monkeypatch):
    whole = calibrate(model, photos, tmp_path / "whole.json", batch=1)
    assert whole.views == len(pixel_values(photos, load_model(model).preprocessing)) == 16
    assert whole.images == whole.per_picture["erank"].count < whole.views == whole.measures["erank"].count
    measure, left = EagerEngine.__call__, [None] * 9

    def interrupted(*arguments):
        left.pop()  # raises within the views of the second picture
        return measure(*arguments)

    monkeypatch.setattr(EagerEngine, "__call__", interrupted)
    with pytest.raises(IndexError):
        calibrate(model, photos, tmp_path / "again.json", batch=1)
    monkeypatch.setattr(EagerEngine, "__call__", measure)
    assert calibrate(model, photos, tmp_path / "again.json", batch=1, resume=True) == whole


def test_the_language_model_answers_about_packed_tokens(tmp_path):
    """`compare` and `validate --answers`, with the language model of the embedded model's size and its words."""
    known = LlavaConfig.from_pretrained(source_of("tiny-llava"))
    torch.manual_seed(5)
    name = llava_next(tmp_path / "model", text_config=known.text_config, image_token_index=known.image_token_id)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(Path(source_of("tiny-llava")) / file, tmp_path / "model")
    told = compare(name, 6, pruners=["fastervlm"], limit=1)
    none, pruned = (int(row.kept) for row in told.benchmarks[0].rows)
    assert none > 16 + 2 * 16 > pruned > 6
    export(name, tmp_path / "out", pruner="fastervlm", keep=6, golden=0)
    report = validate(tmp_path / "out", benchmark="shapes", limit=1, answers=True)
    assert report.failures == ()
    assert report.answers[0].questions > 3
