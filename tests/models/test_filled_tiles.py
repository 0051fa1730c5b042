"""Tiles of pictures that fill their canvas: views, packing and refusals, against Transformers."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

from tests.laws.checkpoints import idefics3, internvl, smolvlm
from tests.models.test_tiles import FEW, LARGE, changed, drawn
from vtp_export.errors import ModelError, SpecError
from vtp_export.graphs.assembly import assemble, load_model
from vtp_export.graphs.packing import packed, packer_for, settings_of
from vtp_export.integrations.processors import image_processor
from vtp_export.models._weights import Weights
from vtp_export.runtime.output import Kept
from vtp_export.runtime.preprocess import pixel_values, view_boxes

SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "intermediate_size": 16}


def internvl_at_448(folder):
    """With the image processor of the released models."""
    name = internvl.internvl(folder, {**internvl.INTERNVIT, **SMALL, "image_size": 448, "patch_size": 56})
    internvl.tiles(folder, edge=448, most=12)
    return name


def smolvlm_at_512(folder):
    name = smolvlm.smolvlm(folder, {**smolvlm.SMOL, **SMALL, "image_size": 512, "patch_size": 64})
    smolvlm.tiles(folder, edge=512, longest=2048)
    return name


def idefics3_at_364(folder):
    name = idefics3.idefics3(folder, {**smolvlm.SMOL, **SMALL, "image_size": 364, "patch_size": 52}, scale=1)
    smolvlm.tiles(folder, "Idefics3ImageProcessor", edge=364, longest=4 * 364)
    return name


RELEASED = {"internvl": internvl_at_448, "smolvlm": smolvlm_at_512, "idefics3": idefics3_at_364}
"""Writers of small checkpoints with views of full size."""
WRITERS = {"internvl": internvl.internvl, "smolvlm": smolvlm.smolvlm, "idefics3": idefics3.idefics3}
MOST = {"internvl": 13, "smolvlm": 17, "idefics3": 17}
"""Views of a picture."""


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    """Checkpoints by family."""
    return {name: writer(tmp_path_factory.mktemp(name)) for name, writer in RELEASED.items()}


def blurred(size, seed=0):
    """A photograph-like picture on which filters and orders differ."""
    few = np.random.default_rng(seed).integers(0, 256, (size[1] // 4 + 1, size[0] // 4 + 1, 3), dtype=np.uint8)
    return Image.fromarray(few).resize(size, Image.Resampling.BILINEAR)


SHAPES = [(448, 448), (300, 300), (630, 630), (640, 640), (449, 448), (1344, 448), (2, 1), *FEW]
"""Of one tile, at the bounds of two canvases, and extreme ones."""


QUICK = {"internvl": SHAPES, "smolvlm": [(449, 448), *FEW[:2]], "idefics3": FEW[2:3]}
CUTS = [
    pytest.param(family, size, tiles, marks=() if tiles is None and size in QUICK[family] else pytest.mark.whole)
    for family in RELEASED
    for size in (*SHAPES, *LARGE)
    for tiles in (None, 4, 1)
]
"""Family, size of the picture, and most tiles of it."""


def refused(folder, file, values, words):
    """With other values in that file, loading ends in one sentence."""
    changed(Path(folder), file, **values)
    with pytest.raises(ModelError, match=words) as caught:
        load_model(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("family", "size", "tiles"), CUTS)
def test_views_are_those_of_transformers_bit_for_bit(released, family, size, tiles):
    model, record = packed(load_model(released[family]), {} if tiles is None else {"tiles": tiles})
    processor, prep = image_processor(released[family]), model.preprocessing
    processor = processor if tiles is None else processor.cutting(prep)
    image = blurred(size)
    made = pixel_values(image, prep)
    np.testing.assert_array_equal(made, processor(image))
    assert len(made) == len(view_boxes(size, prep)) <= {None: MOST[family], 4: 5, 1: 1}[tiles]
    assert record.tiles == tiles
    assert packed(load_model(released[family]), settings_of(record))[1] == record


@pytest.mark.parametrize("family", WRITERS)
def test_the_whole_picture_is_read_last(tmp_path, family):
    model, record = packed(load_model(WRITERS[family](tmp_path)), {})
    layout = assemble(model, "none", {}).layout
    packer, cells = packer_for(model, layout, record), layout.candidates.n
    assert (record.newlines, record.unpad, record.files) == ("none", False, {})
    for size in [(60, 40), (40, 60), (56, 56), *map(drawn, range(10))]:
        count = packer.plan(size).views
        tokens = np.random.default_rng(1).standard_normal((count, cells, 5), dtype=np.float32)
        views = [Kept(kept=np.arange(cells)[view % 3 :], tokens=own[view % 3 :]) for view, own in enumerate(tokens)]
        picture = packer.pack(views, size)
        order = [*range(1, count), 0]
        np.testing.assert_array_equal(picture.tokens, np.concatenate([views[view].tokens for view in order]))
        np.testing.assert_array_equal(picture.kept, np.concatenate([views[view].kept for view in order]))
        np.testing.assert_array_equal(picture.view, np.repeat(order, [views[view].num_kept for view in order]))
        assert [one.tolist() for one in picture.kept_by_view] == [view.kept.tolist() for view in views]
        assert sum(picture.runs) == len(picture.tokens)
        assert len(picture.text) == len(picture.runs) + 1
        assert picture.newlines == 0


@pytest.mark.parametrize("family", WRITERS)
def test_what_there_is_nothing_of_to_pack_is_refused(tmp_path, family):
    model = load_model(WRITERS[family](tmp_path))
    for settings in ({"newlines": "rows"}, {"unpad": "true"}):
        (name,) = settings
        with pytest.raises(SpecError, match=rf"{name} is {settings[name]}, and the pictures of .* fill their canvas"):
            packed(model, settings)
    assert packed(model, {"newlines": "none", "unpad": "false"}) == packed(model, {})


# Which names, which weights

SMOLVLM_ROOTS = {
    "as released": {},
    "without model.": {"model.vision_model.": "vision_model.", "model.connector.": "connector."},
    "half with model.": {"model.connector.": "connector."},
    "behind a word of its own": {"": "policy."},
}
ROOTS = {
    "as Transformers 5 saves it": {},
    "with model.": {"vision_tower.": "model.vision_tower.", "multi_modal": "model.multi_modal"},
    "half with model.": {"vision_tower.": "model.vision_tower."},
    "behind a word of its own": {"": "policy."},
}


@pytest.mark.parametrize(
    ("family", "roots"),
    [
        *((family, roots) for family in ("smolvlm", "idefics3") for roots in SMOLVLM_ROOTS.values()),
        *(("internvl", roots) for roots in ROOTS.values()),
    ],
)
def test_names_old_and_new_are_the_same_weights(tmp_path, monkeypatch, family, roots):
    name = WRITERS[family](tmp_path)
    wanted = load_model(name)
    tensors = {}
    for key, tensor in load_file(tmp_path / "model.safetensors").items():
        old = next((root for root in roots if key.startswith(root)), None)
        tensors[key if old is None else roots[old] + key.removeprefix(old)] = tensor
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    asked, read = [], Weights.read
    monkeypatch.setattr(Weights, "read", lambda self, wanted: asked.extend(wanted) or read(self, wanted))
    assert load_model(name).core == wanted.core
    assert not [key for key in asked if "language" in key or "text_model" in key or "lm_head" in key]


CHANGED = [
    ({"downsample_ratio": 0.3}, r"downsample_ratio of .* is 0\.3, and the tower has 8 x 8 patches; 1 divided by a"),
    ({"downsample_ratio": 1 / 3}, "1 divided by a divisor of 8 is needed"),
    ({"downsample_ratio": None}, "downsample_ratio of .* is None"),
    ({"vision_feature_select_strategy": "full"}, "is 'full'; 'default', which drops CLS, is needed"),
    ({"vision_feature_layer": [-1, -2]}, r"vision_feature_layer of .* is \[-1, -2\]; one layer is needed"),
    ({"vision_config": {"model_type": "clip_vision_model"}}, "is 'clip_vision_model'; supported in this model: inter"),
    ({"vision_config": {**internvl.INTERNVIT, "norm_type": "batch"}}, "norm_type of the vision tower is 'batch'; supp"),
    ({"vision_config": {**internvl.INTERNVIT, "use_qk_norm": 1}}, "use_qk_norm of the vision tower is 1; true or fa"),
    ({"vision_config": {**internvl.INTERNVIT, "image_size": [56, 112]}}, r"is \[56, 112\]; a square is needed"),
    (
        {"vision_config": {**internvl.INTERNVIT, "use_absolute_position_embeddings": False}},
        "only towers with learned positions are supported",
    ),
]


@pytest.mark.parametrize(("values", "words"), CHANGED)
def test_a_config_that_is_not_internvl_s_is_one_sentence(tmp_path, values, words):
    refused(internvl.internvl(tmp_path), "config.json", values, words)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"max_patches": 0}, "min_patches is 1 and max_patches 0; whole numbers from 1 to 292 are needed"),
        ({"min_patches": 7}, "min_patches is 7 and max_patches 6"),
        ({"max_patches": 4.0}, r"max_patches 4\.0"),
        ({"size": {"height": 28, "width": 28}}, "gives 28 x 28 pixels, and this model needs 56 x 56"),
        ({"image_processor_type": "CLIPImageProcessor"}, "makes one view of a picture, and this model takes several"),
        (
            {"image_processor_type": "LlavaNextImageProcessor"},
            "cuts tiles of pictures that fit a canvas, and this model's stretch it",
        ),
    ],
)
def test_a_processor_that_is_not_internvl_s_is_one_sentence(tmp_path, values, words):
    refused(internvl.internvl(tmp_path), "preprocessor_config.json", values, words)


def test_the_original_layout_of_internvl_is_refused_and_points_to_the_other(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "internvl_chat", "auto_map": {}}))
    with pytest.raises(
        ModelError, match=r"layout of the original InternVL code \(internvl_chat\); name the check.*-hf"
    ):
        load_model(tmp_path)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"scale_factor": 3}, "scale_factor of .* is 3, and the tower has 8 x 8 patches; a divisor of 8 is needed"),
        ({"scale_factor": 0}, "scale_factor of .* is 0; a whole number from 1 to 8 is needed"),
        (
            {"vision_config": {**smolvlm.SMOL, "model_type": "siglip_vision_model"}},
            "is 'siglip_vision_model'; supported",
        ),
        ({"vision_config": {**smolvlm.SMOL, "image_size": [56, 56]}}, r"image_size of the vision tower is \[56, 56\]"),
    ],
)
def test_a_config_that_is_not_smolvlm_s_is_one_sentence(tmp_path, values, words):
    refused(smolvlm.smolvlm(tmp_path), "config.json", values, words)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"size": {"longest_edge": 167}}, r"'size' is \{'longest_edge': 167\}, and \{longest_edge\}, an even number"),
        ({"size": {"longest_edge": 4098}}, "from 2 to 4096, was expected"),
        ({"size": {"height": 56, "width": 56}}, "and .longest_edge., an even number of pixels"),
        ({"max_image_size": 56}, "'max_image_size' is 56, and {longest_edge} was expected"),
        ({"max_image_size": {"longest_edge": 28}}, "gives 28 x 28 pixels, and this model needs 56 x 56"),
        ({"do_image_splitting": "no"}, "'do_image_splitting' is 'no', and true or false was expected"),
        ({"do_resize": False}, "neither crops nor resizes to a fixed size"),
        (
            {"image_processor_type": "GotOcr2ImageProcessor"},
            "cuts tiles of pictures that stretch a canvas, and this model's grow it",
        ),
    ],
)
def test_a_processor_that_is_not_smolvlm_s_is_one_sentence(tmp_path, values, words):
    refused(smolvlm.smolvlm(tmp_path), "preprocessor_config.json", values, words)


@pytest.mark.parametrize("size", [*FEW, (56, 56), (700, 300)])
@pytest.mark.parametrize("settings", [{"do_image_splitting": False}, {"size": {"longest_edge": 56}}])
def test_a_picture_that_is_not_split_is_one_view(tmp_path, size, settings):
    name = smolvlm.smolvlm(tmp_path)
    changed(tmp_path, "preprocessor_config.json", **settings)
    model = load_model(name)
    image = blurred(size)
    np.testing.assert_array_equal(pixel_values(image, model.preprocessing), image_processor(name)(image))
    assert view_boxes(size, model.preprocessing) == [(0.0, 0.0, *map(float, size))]


@pytest.mark.parametrize("family", WRITERS)
def test_without_an_image_processor_s_file_the_released_one_is_assumed(released, tmp_path, family):
    name = RELEASED[family](tmp_path)
    (tmp_path / "preprocessor_config.json").unlink()
    model = load_model(name)
    assert model.preprocessing == load_model(released[family]).preprocessing
    assert "images are prepared as for" in model.notes[0]
