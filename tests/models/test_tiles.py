"""LLaVA-NeXT against Transformers' own modules: hidden states, projected tokens, attention, views and their packing."""

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from tests.laws.checkpoints import llava_next
from tests.laws.checkpoints._sizes import VISION
from tests.models.test_towers import SIGNALS, TOLERANCE, assert_attention, lively, of_transformers, pixels_for
from vtp_export.graphs.assembly import assemble, load_model
from vtp_export.graphs.packing import packed, packer_for
from vtp_export.integrations.transformers import image_processor
from vtp_export.models._weights import Weights
from vtp_export.runtime.output import Kept
from vtp_export.runtime.preprocess import pixel_values

WRITERS = {"clip": llava_next.llava_next, "siglip": llava_next.llava_next_of_siglip}


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


@pytest.mark.parametrize(
    "writer",
    [*WRITERS.values(), pytest.param(deep, id="deep"), pytest.param(wide, id="wide", marks=pytest.mark.whole)],
)
def test_a_view_is_what_transformers_makes_of_it(tmp_path, writer):
    writer(tmp_path)
    lively(tmp_path)
    frontend = load_model(tmp_path, SIGNALS).frontend
    model, pixels = of_transformers(tmp_path).model, pixels_for(frontend)
    config, cls = model.config, frontend.saliency == "cls"
    with torch.no_grad():
        wanted = model.vision_tower(pixels, output_attentions=True, output_hidden_states=True)
        hidden = wanted.hidden_states[config.vision_feature_layer][:, int(cls) :]
        projected = model.multi_modal_projector(hidden)
        tokens = frontend.encode(pixels, SIGNALS)
    torch.testing.assert_close(tokens.hidden, hidden, **TOLERANCE)
    torch.testing.assert_close(tokens.projected, projected, **TOLERANCE)
    assert_attention(tokens, wanted.attentions[len(frontend.blocks) - 1], int(cls), cls)


@pytest.mark.parametrize("prefix", ["", "model."])
@pytest.mark.parametrize("tower", ["vision_tower.", "vision_tower.vision_model."])
def test_old_and_new_names_are_found(tmp_path, prefix, tower):
    name = llava_next.llava_next(tmp_path)
    plain = load_model(name)
    file = tmp_path / "model.safetensors"
    tensors = {
        prefix + key.replace("vision_tower.", tower): tensor
        for key, tensor in load_file(file).items()
        if "language" not in key and "lm_head" not in key
    }
    save_file(tensors, file, metadata={"format": "pt"})
    assert load_model(name).core == plain.core
    assert torch.equal(load_model(name).tiling.newline, tensors[f"{prefix}image_newline"])


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
    """Views of random tokens, every one kept, and what we and Transformers make of each picture."""
    ours, record = packed(load_model(model), settings)
    layout = assemble(ours, "none", {}).layout
    packer, cells = packer_for(ours, layout, record), layout.candidates.n
    theirs = of_transformers(model).model
    vector = theirs.image_newline if settings.get("newlines") != "none" else None
    generator = np.random.default_rng(1)
    for size in sizes:
        canvas = packer.plan(size).grid
        tokens = generator.standard_normal((1 + canvas[0] * canvas[1], cells, len(theirs.image_newline)), np.float32)
        views = [Kept(kept=np.arange(cells), tokens=view) for view in tokens]
        arguments = {"image_newline": vector, "vision_feature_select_strategy": "default"}
        wanted, _ = theirs.pack_image_features([torch.from_numpy(tokens)], [size[::-1]], **arguments)
        yield packer.pack(views, size), wanted[0].numpy(), size


@pytest.mark.parametrize("count", [60, pytest.param(1000, marks=pytest.mark.whole)])
@pytest.mark.parametrize("newlines", ["rows", "none"])
def test_packing_what_was_all_kept_is_transformers_packing(tmp_path, newlines, count):
    llava_next.llava_next(tmp_path)
    for picture, wanted, size in joined(tmp_path, [*SIZES, *map(drawn, range(count))], newlines=newlines):
        np.testing.assert_array_equal(picture.tokens, wanted, err_msg=str(size))
        assert picture.view.shape == picture.kept.shape == (len(wanted),)


@pytest.mark.parametrize("size", [(1, 1000), (1000, 1), (640, 480), (57, 900), (300, 300)])
def test_views_are_those_of_transformers_bit_for_bit(tmp_path, size):
    name = llava_next.llava_next(tmp_path)
    prep = load_model(name).preprocessing
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    processor = image_processor(name)
    wanted = processor(Image.fromarray(noise))
    np.testing.assert_array_equal(pixel_values(Image.fromarray(noise), prep), wanted)
