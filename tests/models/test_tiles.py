"""LLaVA-NeXT and LLaVA-OneVision against Transformers: states, tokens, attention; views and their packing."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from tests.laws.checkpoints import llava, llava_next, llava_onevision
from tests.laws.checkpoints._sizes import DINOV2, SIGLIP, VISION
from tests.models.test_towers import lively
from vtp_export.errors import ImageError, ModelError
from vtp_export.graphs.assembly import assemble, load_model
from vtp_export.graphs.packing import packed, packer_for, packing_notes
from vtp_export.integrations.processors import image_processor
from vtp_export.models._weights import Weights
from vtp_export.runtime.output import Kept
from vtp_export.runtime.packing import unpadded
from vtp_export.runtime.pinpoints import NEXT_PINPOINTS, ONEVISION_PINPOINTS
from vtp_export.runtime.preprocess import pixel_values
from vtp_export.spec import BatchRange

SIGNALS = ("projected", "saliency", "received")
TOLERANCE = {"atol": 1e-5, "rtol": 1e-5}
WRITERS = [llava_next.llava_next, llava_next.llava_next_of_siglip, llava_onevision.llava_onevision]


def deep(folder):
    """As deep as the real tower."""
    return llava_next.llava_next(folder, {**VISION, "num_hidden_layers": 24})


def wide(folder):
    """As wide as the real tower, on tiles of its size, with few layers."""
    vision = {**VISION, "hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16}
    vision |= {"image_size": 336, "patch_size": 14, "num_hidden_layers": 3}
    llava_next.llava_next(folder, vision, pinpoints=[[336, 672], [672, 336]])
    llava_next.tiles(folder, pinpoints=[[336, 672], [672, 336]], edge=336)
    return str(folder)


def deep_onevision(folder):
    """As deep as the real tower of LLaVA-OneVision."""
    return llava_onevision.llava_onevision(folder, {**SIGLIP, "num_hidden_layers": 26})


def wide_onevision(folder):
    """As wide as it, with few layers."""
    vision = {**SIGLIP, "hidden_size": 1152, "intermediate_size": 4304, "num_attention_heads": 16}
    return llava_onevision.llava_onevision(folder, {**vision, "num_hidden_layers": 3})


def of_transformers(folder):
    from transformers import AutoModelForImageTextToText

    loader = AutoModelForImageTextToText
    return loader.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32).eval().requires_grad_(False)


@pytest.mark.parametrize(
    "writer",
    [
        *(pytest.param(writer, id=writer.__name__) for writer in (*WRITERS, deep, deep_onevision)),
        *(pytest.param(writer, id=writer.__name__, marks=pytest.mark.whole) for writer in (wide, wide_onevision)),
    ],
)
def test_a_view_is_what_transformers_makes_of_it(tmp_path, writer):
    writer(tmp_path)
    lively(tmp_path)
    frontend = load_model(tmp_path, SIGNALS).frontend
    model = of_transformers(tmp_path).model
    pixels = torch.randn(2, 3, *frontend.image_size, generator=torch.Generator().manual_seed(3))
    config, cls = model.config, frontend.saliency == "cls"
    with torch.no_grad():
        wanted = model.vision_tower(pixels, output_attentions=True, output_hidden_states=True)
        hidden = wanted.hidden_states[config.vision_feature_layer][:, int(cls) :]
        projected = model.multi_modal_projector(hidden)
        tokens = frontend.encode(pixels, SIGNALS)
    torch.testing.assert_close(tokens.hidden, hidden, **TOLERANCE)
    torch.testing.assert_close(tokens.projected, projected, **TOLERANCE)
    attention = wanted.attentions[len(frontend.blocks) - 1].mean(1)  # (b, m, m), CLS first where there is one
    received = attention.mean(1)[:, int(cls) :]
    torch.testing.assert_close(tokens.received, received, **TOLERANCE)
    torch.testing.assert_close(tokens.saliency, attention[:, 0, 1:] if cls else received, **TOLERANCE)


def test_only_the_front_end_is_read_and_the_newline_is_part_of_the_digest(tmp_path, monkeypatch):
    name = llava_next.llava_next(tmp_path)
    asked, read = [], Weights.read
    monkeypatch.setattr(Weights, "read", lambda self, wanted: asked.extend(wanted) or read(self, wanted))
    before = load_model(name).core
    assert not [key for key in asked if "language" in key or "lm_head" in key]
    file = tmp_path / "model.safetensors"
    tensors = load_file(file)
    save_file({**tensors, "image_newline": tensors["image_newline"] + 1}, file, metadata={"format": "pt"})
    assert load_model(name).core.weights_sha256 != before.weights_sha256


SIZES = [(1, 1000), (1000, 1), (640, 480), (480, 640), (333, 333), (56, 28), (29, 83), (4000, 3000), (57, 900)]


def drawn(seed):
    """A size that a picture may have, most of them of ordinary shapes."""
    generator = np.random.default_rng(seed)
    width = int(generator.integers(1, 1200))
    return width, max(1, int(width * 2 ** generator.uniform(-2, 2)))


def joined(model, sizes, **settings):
    """Views of random tokens, every one kept: what joins them, Transformers' picture of them, and how large it is."""
    ours, record = packed(load_model(model), settings)
    layout = assemble(ours, "none", {}).layout
    packer, cells = packer_for(ours, layout, record), layout.candidates.n
    theirs = of_transformers(model).model
    theirs.config.image_grid_pinpoints = [list(canvas) for canvas in ours.preprocessing.pinpoints]
    vector = theirs.image_newline if settings.get("newlines") != "none" else None
    strategy = {"vision_feature_select_strategy": "default"} if theirs.config.model_type == "llava_next" else {}
    strategy = strategy or {"vision_aspect_ratio": theirs.config.vision_aspect_ratio}
    generator = np.random.default_rng(1)
    for size in sizes:
        tokens = generator.standard_normal(
            (packer.plan(size).views, cells, len(theirs.image_newline)), dtype=np.float32
        )
        views = [Kept(kept=np.arange(cells), tokens=view) for view in tokens]
        wanted, _ = theirs.pack_image_features(
            [torch.from_numpy(tokens)], [size[::-1]], image_newline=vector, **strategy
        )
        yield packer, views, wanted[0].numpy(), size


@pytest.mark.parametrize("count", [60, pytest.param(1000, marks=pytest.mark.whole)])
@pytest.mark.parametrize("newlines", ["rows", "none"])
def test_packing_what_was_all_kept_is_transformers_packing(tmp_path, newlines, count):
    llava_next.llava_next(tmp_path)
    for packer, views, wanted, size in joined(tmp_path, [*SIZES, *map(drawn, range(count))], newlines=newlines):
        picture = packer.pack(views, size)
        np.testing.assert_array_equal(picture.tokens, wanted, err_msg=str(size))
        assert picture.view.shape == picture.kept.shape == (len(wanted),)


@pytest.mark.parametrize("count", [60, pytest.param(1000, marks=pytest.mark.whole)])
def test_pictures_that_onevision_would_shrink_are_refused_and_others_are_packed_as_by_transformers(tmp_path, count):
    llava_onevision.llava_onevision(tmp_path)
    refused = 0
    for packer, views, wanted, size in joined(tmp_path, [*SIZES, *map(drawn, range(count))]):
        rows, columns = unpadded(tuple(4 * across for across in packer.plan(size).grid), size)
        whole = len(views[0].kept) + len(rows) * (len(columns) + 1)
        if len(wanted) == whole:
            np.testing.assert_array_equal(packer.pack(views, size).tokens, wanted, err_msg=str(size))
        else:
            refused += 1
            with pytest.raises(ImageError, match=r"shrinks to those of 2, .*export with --packing tiles=2"):
                packer.pack(views, size)
    assert 5 < refused < count
    for packer, views, wanted, size in joined(tmp_path, [(4000, 3000), (300, 280)], tiles=2):
        np.testing.assert_array_equal(packer.pack(views, size).tokens, wanted, err_msg=str(size))


def test_a_little_more_than_the_cap_is_not_shrunk(tmp_path):
    llava_onevision.llava_onevision(tmp_path, {**SIGLIP, "patch_size": 4}, ratio="anyres_max_1")
    ((packer, views, wanted, size),) = joined(tmp_path, [(32, 28)])
    assert len(wanted) == 49 + 7 * (8 + 1)  # 56 tokens of two tiles, where one has 49
    np.testing.assert_array_equal(packer.pack(views, size).tokens, wanted)


@pytest.mark.parametrize(
    ("tiles", "batch", "words"), [({}, 16, ["refused"]), ({"tiles": 2}, 2, ["up to 3 views"]), ({"tiles": 2}, 3, [])]
)
def test_what_will_not_fit_is_told_when_it_is_exported(tmp_path, tiles, batch, words):
    model, record = packed(load_model(llava_onevision.llava_onevision(tmp_path)), tiles)
    notes = packing_notes(model, record, BatchRange(1, 1, batch))
    assert len(notes) == len(words)
    assert all(word in note for word, note in zip(words, notes, strict=True))


LARGE = [
    *((width, height) for width in (1, 97, 336, 640, 1000, 1920) for height in (1, 97, 336, 480, 1000, 1080)),
    *((2 * side + 1, 3 * side) for side in range(20, 420, 25)),
    *((5 * side, 2 * side + 3) for side in range(20, 220, 25)),
    (4000, 3000),
    (3000, 4000),
    (2048, 1365),
]
"""63 sizes, from 1 x 1000 to 4000 x 3000."""


FEW = [(1, 1000), (1000, 1), (640, 482), (482, 640), (333, 333)]
"""Thin ones, and such whose bars differ by a pixel."""


@pytest.mark.parametrize("size", [*FEW, *(pytest.param(size, marks=pytest.mark.whole) for size in LARGE)])
@pytest.mark.parametrize("writer", [llava_next.llava_next, llava_onevision.llava_onevision])
def test_views_are_those_of_transformers_bit_for_bit(tmp_path, writer, size):
    """With the canvases, and from the default settings, of the released models."""
    edge, filled = (336, NEXT_PINPOINTS) if writer is llava_next.llava_next else (384, ONEVISION_PINPOINTS)
    filled = [list(canvas) for canvas in filled]
    name = writer(tmp_path, {**(VISION if edge == 336 else SIGLIP), "image_size": edge, "patch_size": 48}, filled)
    own = {"size": {"shortest_edge": edge}} if edge == 336 else {"crop_size": None}
    kind = json.loads((tmp_path / "preprocessor_config.json").read_text())["image_processor_type"]
    llava_next.tiles(tmp_path, kind, filled, edge, **own)
    few = np.random.default_rng(0).integers(0, 256, (size[1] // 4 + 1, size[0] // 4 + 1, 3), dtype=np.uint8)
    image = Image.fromarray(few).resize(size, Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(pixel_values(image, load_model(name).preprocessing), image_processor(name)(image))


def changed(folder, file, **values):
    """Rewrite a JSON file; a value of ... takes its key away."""
    written = json.loads((folder / file).read_text())
    written = {key: value for key, value in {**written, **values}.items() if value is not ...}
    (folder / file).write_text(json.dumps(written))


@pytest.mark.parametrize(
    ("file", "values", "words"),
    [
        ("config.json", {"image_grid_pinpoints": ...}, r"and those of config\.json, by which .*\[\[336, 672\]"),
        (
            "config.json",
            {"image_grid_pinpoints": ..., "vision_config": {**VISION, "image_size": 30}},
            "names none, and Transformers' own do not fit:.*tile's 30 pixels",
        ),
        ("config.json", {"image_grid_pinpoints": []}, r"cannot be used: image_grid_pinpoints is \[\]; 1 to 100 pairs"),
        ("config.json", {"image_grid_pinpoints": [[28, 50]]}, "each a multiple of the tile's 28 pixels"),
        ("config.json", {"image_grid_pinpoints": "none"}, "image_grid_pinpoints is 'none'"),
        ("config.json", {"vision_feature_select_strategy": "full"}, "keeps CLS among the tokens, and tiles with CLS"),
        ("config.json", {"vision_config": DINOV2}, "is a DINOv2 tower; llava_next needs a CLIP"),
        ("preprocessor_config.json", {"image_grid_pinpoints": [[56, 56]]}, "and those of config.json, by which"),
        ("preprocessor_config.json", {"image_grid_pinpoints": ...}, r"are \[\[336, 672\].* and those of config\.json"),
        ("preprocessor_config.json", {"crop_size": ...}, "gives 224 x 224 pixels, and this model needs 28 x 28"),
        ("preprocessor_config.json", {"size": {"shortest_edge": 35}}, "gives 35 x 35 pixels, and this model needs"),
        (
            "preprocessor_config.json",
            {"image_processor_type": "CLIPImageProcessor"},
            "makes one view of a picture, and",
        ),
    ],
)
def test_what_tiles_cannot_be_cut_or_joined_by_is_one_sentence(tmp_path, file, values, words):
    name = llava_next.llava_next(tmp_path)
    changed(tmp_path, file, **values)
    with pytest.raises(ModelError, match=words) as caught:
        load_model(name)
    assert "\n" not in str(caught.value)


def test_a_processor_of_tiles_is_none_for_a_model_of_one_view(tmp_path):
    name = llava.llava(tmp_path)
    llava_next.tiles(tmp_path)
    with pytest.raises(ModelError, match="makes several views of a picture, and this model takes one view"):
        load_model(name)


def test_a_ratio_that_shrinks_by_another_rule_is_refused(tmp_path):
    name = llava_onevision.llava_onevision(tmp_path)
    changed(tmp_path, "config.json", vision_aspect_ratio="pad")
    with pytest.raises(ModelError, match=r"vision_aspect_ratio of .* is 'pad'; anyres_max_N is needed"):
        load_model(name)


def test_a_checkpoint_without_a_newline_vector_or_in_the_original_layout_is_refused(tmp_path):
    name = llava_next.llava_next(tmp_path)
    file = tmp_path / "model.safetensors"
    tensors = {key: tensor for key, tensor in load_file(file).items() if key != "image_newline"}
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"has no newline vector: no tensor is named '\.\.\.image_newline'"):
        load_model(name)
    original = {
        f"model.{key.replace('multi_modal_projector.linear_1', 'mm_projector.0')}": tensor
        for key, tensor in tensors.items()
    }
    save_file(original, file, metadata={"format": "pt"})
    with pytest.raises(ModelError, match="has the layout of the original LLaVA code"):
        load_model(name)


def test_canvases_are_those_of_transformers_where_none_are_named(tmp_path):
    name = llava_next.llava_next(tmp_path, {**VISION, "image_size": 336, "patch_size": 48})
    changed(tmp_path, "config.json", image_grid_pinpoints=...)
    (tmp_path / "preprocessor_config.json").unlink()
    model = load_model(name)
    assert model.preprocessing.pinpoints == NEXT_PINPOINTS
    assert (model.preprocessing.resize_exact, model.preprocessing.crop) == ((336, 336), None)
    assert "images are prepared as for OpenAI's CLIP, at 336 pixels" in model.notes[0]
