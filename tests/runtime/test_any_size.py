"""An artefact of a model whose pictures have any size: it takes its own, and says of others what it does with them."""

import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

from tests.laws.checkpoints.qwen2_5_vl import qwen2_5_vl
from tests.manifests import SMALLEST
from vtp_export import load
from vtp_export.errors import ImageError, ModelError, SpecError, VtpWarning
from vtp_export.graphs.assembly import load_model
from vtp_export.manifests import manifest_from_json, refuse_contradictions
from vtp_export.models._sizes import asked_size
from vtp_export.pipeline.bench import bench
from vtp_export.pipeline.calibrate import calibrate
from vtp_export.pipeline.check import check
from vtp_export.pipeline.explain import explain
from vtp_export.pipeline.export import export
from vtp_export.pipeline.run import run
from vtp_export.pipeline.validate import validate
from vtp_export.resolutions import AnyResolution
from vtp_export.runtime.positions import positions_of
from vtp_export.spec import TensorSpec


def picture(width, height):
    noise = np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(noise)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Built for 5 x 6 tokens of 8 pixels, in the format that takes least time."""
    place = tmp_path_factory.mktemp("any")
    name = qwen2_5_vl(place / "model")
    export(name, place / "own", pruner="fastervlm", keep=7, formats="torchscript", image_size="48x40", golden=2)
    return place


@pytest.fixture(scope="module")
def opened(folder):
    with load(folder / "own") as front_end:
        yield front_end


def test_its_own_pictures_run_and_others_are_refused(opened):
    out = opened([picture(48, 40), picture(50, 38)])
    assert out.tokens.shape == (2, 7, 48)
    for kept in out:
        assert np.array_equal(kept.position_ids, positions_of(kept.kept, (5, 6)))
    for call in (opened, opened.stream, opened.pictures):
        with pytest.raises(ImageError, match="image 0, 100 x 48 pixels, makes 6 x 12 tokens, and this artefact was"):
            list(call(picture(100, 48)))


def test_others_are_stretched_where_that_is_asked_for(folder, opened):
    other = picture(100, 48)
    with load(folder / "own", nearest_grid=True) as front_end:
        for call in (front_end, front_end.pictures):
            with pytest.warns(VtpWarning, match="makes 6 x 12 tokens, .* built for 5 x 6: it is stretched"):
                (kept,) = call(other)
            stretched = opened(other.resize((48, 40), Image.Resampling.BICUBIC))[0]
            assert np.array_equal(kept.tokens, stretched.tokens)
        with pytest.raises(ImageError, match="up to 200 times as long as wide"):
            front_end(Image.new("RGB", (1, 300)))


def test_run_says_the_same(folder, tmp_path):
    picture(48, 40).save(tmp_path / "own.png")
    picture(100, 48).save(tmp_path / "other.png")
    report = run(folder / "own", [tmp_path / "own.png"], out=tmp_path / "t.npz", overlays=tmp_path / "pictures")
    with np.load(tmp_path / "t.npz") as arrays:
        assert arrays["position_ids"].shape == (1, 3, 7)
        assert tuple(arrays["kept"][0]) == report.images[0].kept
    with pytest.raises(ImageError, match=r"other\.png', 100 x 48 pixels, makes 6 x 12 tokens"):
        run(folder / "own", [tmp_path / "other.png"])
    both = [tmp_path / "own.png", tmp_path / "other.png"]
    assert [one.image for one in run(folder / "own", both, skip_bad=True).skipped] == [str(both[1])]
    with pytest.warns(VtpWarning, match="it is stretched"):
        run(folder / "own", both, nearest_grid=True, overlays=tmp_path / "all")
    assert len(list((tmp_path / "all").glob("*.png"))) == 2


def test_it_is_proved_on_pictures_of_any_shape(folder, tmp_path):
    own = tmp_path / "own"
    own.mkdir()
    picture(48, 40).save(own / "a.png")
    picture(64, 100).save(own / "b.png")
    assert check(folder / "own").passed
    result = validate(folder / "own", benchmark=own)
    assert result.passed
    assert [one.name for one in result.pixels] == [
        "preprocessing against the model's own files",
        "preprocessing against Transformers' Qwen2VLImageProcessorPil",
    ]
    golden = json.loads((folder / "own" / "golden" / "record.json").read_text())["pictures"][0]
    assert explain(folder / "own", folder / "own" / golden["file"]).explanation


def test_a_limit_of_tokens_is_the_artefacts_own(folder, tmp_path):
    """It is told in the manifest, and the model, loaded for it, says the same."""
    report = export(
        str(folder / "model"), tmp_path / "small", pruner="random", keep=4, formats="torchscript",
        image_size=(400, 300), max_tokens=20, golden=0,
    )  # fmt: skip
    assert report.manifest.layout.candidates.grid == (3, 5)
    assert report.manifest.preprocessing.any_resolution == AnyResolution(token=8, min_pixels=256, max_pixels=20 * 64)
    own = tmp_path / "own"
    own.mkdir()
    picture(400, 300).save(own / "a.png")
    assert validate(tmp_path / "small", benchmark=own).passed
    with load(tmp_path / "small") as front_end:
        assert front_end(picture(800, 600)).kept.shape == (1, 4)


def test_a_calibration_of_one_grid_is_none_of_another(folder, tmp_path):
    own = tmp_path / "own"
    own.mkdir()
    for width in (48, 60):
        picture(width, 40).save(own / f"{width}.png")
    with pytest.raises(ModelError, match="takes pictures of any size, and a graph has one"):
        calibrate(str(folder / "model"), own, tmp_path / "c.json")
    with pytest.warns(VtpWarning, match="the graph is for pictures of 5 x 6 tokens"):
        calibrate(str(folder / "model"), own, tmp_path / "c.json", grid="5x6")
    common = {"keep": 7, "formats": "torchscript", "calibration": tmp_path / "c.json", "golden": 0}
    export(str(folder / "model"), tmp_path / "a", grid=(5, 6), **common)
    with pytest.raises(SpecError, match=r"was made for .* make one with 'vtp-export calibrate'"):
        export(str(folder / "model"), tmp_path / "b", grid=(6, 5), **common)


def test_it_is_timed_beside_its_own_model(folder):
    report = bench([folder / "own"], against=folder / "model", rounds=1)
    assert [one.name for one in report.timings] == [
        f"{folder / 'own'} torchscript",
        f"{folder / 'model'} eager, unpruned",
    ]
    with pytest.raises(SpecError, match="these take images of different sizes"):
        bench([folder / "own"], against="toy", rounds=1)


def test_a_model_of_one_size_has_no_grid(tmp_path):
    for asked in ({"grid": "5x6"}, {"image_size": "48x40"}, {"max_tokens": 9}):
        with pytest.raises(ModelError, match="'toy' takes pictures of one size; leave --grid, --image-size"):
            load_model("toy", size=asked_size(**asked))


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"grid": "5"}, "grid is '5'; it must be rows and columns of tokens, as 26x46"),
        ({"grid": "0x4"}, "grid is 0; it must be 1 to 16384"),
        ({"grid": (5, 6, 7)}, r"grid is \(5, 6, 7\); it must be rows"),
        ({"grid": 5}, "grid is 5; it must be rows"),
        ({"image_size": "wide"}, "image_size is 'wide'; it must be width and height, as 1280x720"),
        ({"image_size": (1.5, 2)}, "image_size is 1.5; it must be"),
        ({"max_tokens": 0}, "max_tokens is 0; it must be"),
        ({"grid": "5x6", "image_size": "48x40"}, "both named, and one follows from the other; name one"),
    ],
)
def test_what_is_no_size_is_refused(asked, message):
    with pytest.raises(SpecError, match=message):
        asked_size(**asked)


RIGHT = dataclasses.replace(
    SMALLEST,
    preprocessing=dataclasses.replace(
        SMALLEST.preprocessing,
        resize_shortest=None,
        resize_exact=(28, 28),
        crop=None,
        any_resolution=AnyResolution(token=14, min_pixels=196, max_pixels=7840),
    ),
    outputs=(*SMALLEST.outputs, TensorSpec("position_ids", "int64", ("b", 3, 4))),
)


def changed(**rule):
    any_resolution = dataclasses.replace(RIGHT.preprocessing.any_resolution, **rule)
    prep = dataclasses.replace(RIGHT.preprocessing, any_resolution=any_resolution)
    return dataclasses.replace(RIGHT, preprocessing=prep)


CONTRADICTIONS = {
    "no token": (changed(token=0), "a token's edge and two areas are needed"),
    "crossed areas": (changed(min_pixels=9000), "a token's edge and two areas are needed"),
    "stretched for ever": (changed(others="stretched"), "a token's edge and two areas are needed"),
    "parts of tokens": (changed(token=12), r"\(28, 28\) in whole tokens is right"),
    "another size": (
        dataclasses.replace(RIGHT, preprocessing=dataclasses.replace(RIGHT.preprocessing, resize_exact=(14, 28))),
        r"become \(14, 28\); \(28, 28\) in whole tokens",
    ),
    "two axes": (
        dataclasses.replace(RIGHT, outputs=(*SMALLEST.outputs, TensorSpec("position_ids", "int64", ("b", 2, 4)))),
        "the output 'position_ids' is .*, and the layout has 4 slots",
    ),
}


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_a_manifest_that_contradicts_itself_is_refused(case):
    refuse_contradictions(RIGHT)
    manifest, message = CONTRADICTIONS[case]
    with pytest.raises(SpecError, match=message):
        refuse_contradictions(manifest)


def test_a_manifest_comes_back_as_it_was(folder):
    text = (folder / "own" / "manifest.json").read_text()
    assert manifest_from_json(text).preprocessing.any_resolution == AnyResolution(
        token=8, min_pixels=256, max_pixels=16384
    )
