"""Preprocessing of every family against Transformers' own on Pillow, on pictures of any shape: no bit differs."""

import json

import numpy as np
import pytest
from PIL import Image

from vtp_export import rooms
from vtp_export.runtime.preprocess import pixel_values, preprocessing_from_config

HALF = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "rescale_factor": 1 / 255}
CLIP_336 = {
    "image_processor_type": "CLIPImageProcessor",
    "crop_size": {"height": 336, "width": 336},
    "size": {"shortest_edge": 336},
    "resample": 3,
}
PADDED = {**CLIP_336, "image_processor_type": "LlavaImageProcessor", "do_pad": True}
CLIP_OF_2021 = {"feature_extractor_type": "CLIPFeatureExtractor", "crop_size": 224, "size": 224, "resample": 3}
SIGLIP = {**HALF, "image_processor_type": "SiglipImageProcessor", "resample": 3, "size": {"height": 384, "width": 384}}
NAFLEX = {**HALF, "image_processor_type": "Siglip2ImageProcessor", "patch_size": 16, "max_num_patches": 256}
DINOV2 = {
    "image_processor_type": "BitImageProcessor",
    "size": {"shortest_edge": 256},
    "crop_size": {"height": 224, "width": 224},
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
    "resample": 3,
}
GEMMA3 = {
    **HALF,
    "image_processor_type": "Gemma3ImageProcessor",
    "do_pan_and_scan": None,
    "resample": 2,
    "size": {"height": 896, "width": 896},
}

SETTINGS = {
    ("llava", 336): CLIP_336,
    ("llava", "padded"): PADDED,
    ("vipllava", 336): CLIP_336,
    ("clip", 224): CLIP_OF_2021,
    ("clip_vision_model", 336): CLIP_336,
    ("siglip", 384): SIGLIP,
    ("siglip_vision_model", 224): {**SIGLIP, "size": {"height": 224, "width": 224}},
    ("siglip2", 256): NAFLEX,
    ("siglip2_vision_model", 336): {**NAFLEX, "patch_size": 14, "max_num_patches": 600},
    ("dinov2", 224): DINOV2,
    ("dinov2_with_registers", 224): DINOV2,
    ("paligemma", 224): {**SIGLIP, "do_convert_rgb": None, "size": {"height": 224, "width": 224}},
    ("paligemma", 448): {**SIGLIP, "do_convert_rgb": None, "size": {"height": 448, "width": 448}},
    ("paligemma", 896): {**SIGLIP, "do_convert_rgb": None, "size": {"height": 896, "width": 896}},
    ("gemma3", 896): GEMMA3,
}
"""By family and edge, as published checkpoints have it in `preprocessor_config.json`."""

EXTREMES = ((1, 1000), (1000, 1), (1, 1), (2, 3), (4000, 3000), (3000, 4000), (4000, 40), (896, 896))
"""Width and height."""
SAMPLE = ((7, 5), (29, 113), (224, 224), (640, 480), (337, 501), (513, 97))


def drawn(count):
    """Sizes from 1 to 4000, as many small as large ones."""
    edges = np.exp(np.random.default_rng(15).uniform(0, np.log(4000), (count, 2))).astype(int)
    return tuple(map(tuple, edges.tolist()))


SIZES = (*EXTREMES, *SAMPLE, *drawn(50))


def noise(size):
    """A picture on which no two filters, crops or orders agree."""
    width, height = size
    generator = np.random.default_rng(width * 7919 + height)
    return Image.fromarray(generator.integers(0, 256, (height, width, 3), dtype=np.uint8))


def of_transformers(folder, settings):
    """A function from a picture to pixels (3, h, w)."""
    from transformers import AutoImageProcessor
    from transformers.image_utils import SizeDict

    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    if not hasattr(processor, "max_num_patches"):
        return lambda image: processor(image)["pixel_values"][0]
    patch, side = processor.patch_size, int(processor.max_num_patches**0.5)

    def of_one_grid(image):
        """A square picture's own grid; another is resized to it first, by the processor's own function."""
        own = {}
        if image.width != image.height:
            channels_first = np.asarray(image).transpose(2, 0, 1)
            edge = side * patch
            resized = processor.resize(channels_first, SizeDict(height=edge, width=edge), processor.resample)
            image, own = Image.fromarray(resized.transpose(1, 2, 0)), {"do_resize": False}
        made = processor(image, **own)
        rows, columns = made["spatial_shapes"][0]
        patches = np.asarray(made["pixel_values"][0])[: rows * columns].reshape(rows, columns, patch, patch, 3)
        return patches.transpose(4, 0, 2, 1, 3).reshape(3, rows * patch, columns * patch)

    return of_one_grid


def assert_equal(folder, case, sizes):
    settings = SETTINGS[case]
    wanted, prep = of_transformers(folder, settings), preprocessing_from_config(settings, None)
    for size in sizes:
        image = noise(size)
        made, expected = pixel_values(image, prep)[0], wanted(image)
        if size == (1, 1) and made.shape != expected.shape:
            assert "patch_size" in settings  # its search for a scale ends at a hundredfold
            continue
        assert made.dtype == expected.dtype == np.float32
        assert np.array_equal(made, expected), (case, size)


def test_every_family_of_one_view_and_one_size_is_here():
    # `tests/models/test_tiles.py` and `test_filled_tiles.py`
    tiled = {"llava_next", "llava_onevision", "internvl", "smolvlm", "idefics3"}
    sized = {family for family in rooms.names("models") if getattr(rooms.load("models", family), "ANY_SIZE", False)}
    assert {family for family, _ in SETTINGS} == set(rooms.names("models")) - {"toy"} - tiled - sized
    assert len(set(SIZES)) >= 60


@pytest.mark.parametrize("case", SETTINGS, ids=str)
def test_pixels_are_those_of_transformers(tmp_path, case):
    assert_equal(tmp_path, case, SAMPLE)


@pytest.mark.whole
@pytest.mark.parametrize("case", SETTINGS, ids=str)
def test_pixels_are_those_of_transformers_at_every_size(tmp_path, case):
    assert_equal(tmp_path, case, SIZES)
