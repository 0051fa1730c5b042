"""Pictures of a model of any resolution: their sizes and pixels are those of Transformers, and others are refused."""

import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

from tests.runtime.test_processors import SAMPLE, SIZES, noise
from vtp_export.errors import ImageError, SpecError, VtpWarning
from vtp_export.resolutions import AnyResolution
from vtp_export.runtime.preprocess import pixel_values, preprocessing_from_config, view_box
from vtp_export.runtime.processor_defaults import ANY_RESOLUTION
from vtp_export.runtime.resolution import refuse_other_size, resolution_from_config, sized, stretching
from vtp_export.runtime.usual import clip_preprocessing

QWEN2_5 = {
    "image_processor_type": "Qwen2VLImageProcessor",
    "min_pixels": 3136,
    "max_pixels": 12845056,
    "patch_size": 14,
    "temporal_patch_size": 2,
    "merge_size": 2,
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
}
QWEN3 = {
    "image_processor_type": "Qwen2VLImageProcessorFast",
    "size": {"shortest_edge": 65536, "longest_edge": 16777216},
    "patch_size": 16,
    "temporal_patch_size": 2,
    "merge_size": 2,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
}
CAPPED = {**QWEN2_5, "max_pixels": 1280 * 28 * 28}
DEFAULTS = {"image_processor_type": "Qwen2VLImageProcessor"}
SETTINGS = {"Qwen2.5": QWEN2_5, "Qwen3": QWEN3, "capped": CAPPED, "defaults": DEFAULTS}
"""As released, with a smaller limit, and where the file says nothing."""


RULES = (
    AnyResolution(token=28, min_pixels=3136, max_pixels=12845056),
    AnyResolution(token=32, min_pixels=65536, max_pixels=1 << 20),
)


def of_transformers(folder, settings):
    """A function from a picture to pixels (3, h, w), put together of the patches of its first frame."""
    from transformers import AutoImageProcessor

    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    patch, merge = processor.patch_size, processor.merge_size

    def pixels(image):
        made = processor(images=[image], return_tensors="np")
        _, rows, columns = made["image_grid_thw"][0]
        cut = made["pixel_values"].reshape(rows // merge, columns // merge, merge, merge, 3, 2, patch, patch)
        assert (cut[:, :, :, :, :, 0] == cut[:, :, :, :, :, 1]).all()
        return cut[:, :, :, :, :, 0].transpose(4, 0, 2, 5, 1, 3, 6).reshape(3, rows * patch, columns * patch)

    return pixels


def preprocessing_for(size, settings):
    """What an artefact has that was built for pictures of that size."""
    rule = resolution_from_config(settings)
    height, width = sized(size, rule)
    prep = preprocessing_from_config(
        {**settings, "size": {"height": height, "width": width}}, None, unnamed=ANY_RESOLUTION
    )
    return dataclasses.replace(prep, any_resolution=rule)


def assert_equal(folder, settings, sizes):
    wanted = of_transformers(folder, settings)
    for size in sizes:
        if max(size) > 200 * min(size):
            with pytest.raises(ValueError, match="absolute aspect ratio must be smaller than 200"):
                wanted(noise(size))
            with pytest.raises(ImageError, match="up to 200 times as long as wide"):
                preprocessing_for(size, settings)
            continue
        made, expected = pixel_values(noise(size), preprocessing_for(size, settings))[0], wanted(noise(size))
        assert made.dtype == expected.dtype == np.float32
        assert np.array_equal(made, expected), size


@pytest.mark.parametrize("case", SETTINGS)
def test_pixels_are_those_of_transformers(tmp_path, case):
    assert_equal(tmp_path, SETTINGS[case], (*SAMPLE, (1, 1000), (3, 400), (1400, 7)))


@pytest.mark.whole
@pytest.mark.parametrize("case", SETTINGS)
def test_pixels_are_those_of_transformers_at_every_size(tmp_path, case):
    assert len(set(SIZES)) >= 60
    assert_equal(tmp_path, SETTINGS[case], SIZES)


def test_sizes_are_those_of_transformers():
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

    rng = np.random.default_rng(3)
    for width, height in np.exp(rng.uniform(0, np.log(6000), (2000, 2))).astype(int).tolist():
        for rule in RULES:
            try:
                wanted = smart_resize(height, width, rule.token, rule.min_pixels, rule.max_pixels)
            except ValueError:
                wanted = None
            if wanted is None:
                with pytest.raises(ImageError, match="up to 200 times as long as wide"):
                    sized((width, height), rule)
            else:
                assert sized((width, height), rule) == wanted


def test_a_picture_of_another_grid_is_refused_or_stretched():
    prep = preprocessing_for((980, 980), QWEN2_5)
    own, other = Image.new("RGB", (985, 975)), Image.new("RGB", (640, 480))
    assert pixel_values(own, prep).shape == (1, 3, 980, 980)
    with pytest.raises(ImageError, match=r"photo, 640 x 480 pixels, makes 17 x 23 tokens, .* built for 35 x 35; give"):
        pixel_values(other, prep, ["photo"])
    with pytest.raises(ImageError, match="makes 17 x 23 tokens"):
        view_box(other.size, prep)
    with pytest.warns(VtpWarning, match="makes 17 x 23 tokens, .* 35 x 35: it is stretched"):
        assert pixel_values(other, stretching(prep, "stretched")).shape == (1, 3, 980, 980)
    assert view_box(other.size, stretching(prep)) == (0, 0, 640, 480)
    assert stretching(clip_preprocessing(28)) == clip_preprocessing(28)
    refuse_other_size((1, 5000), clip_preprocessing(28))


def test_a_stretched_picture_may_not_be_too_long_either():
    with pytest.raises(ImageError, match="up to 200 times as long as wide"):
        pixel_values(Image.new("RGB", (1, 900)), stretching(preprocessing_for((980, 980), QWEN2_5)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": {"height": 28, "width": 28}}, "bounds a picture's pixels by None and None"),
        ({"min_pixels": 0}, "by 0 and 1003520"),
        ({"max_pixels": 10**12}, "by 3136 and 1000000000000"),
        ({"max_pixels": 3000}, "by 3136 and 3000"),
        ({"patch_size": 0}, "patch_size and merge_size are 0 and 2"),
        ({"merge_size": True}, "patch_size and merge_size are 14 and True"),
    ],
)
def test_what_no_processor_can_mean_is_refused(settings, message):
    with pytest.raises(SpecError, match=message):
        resolution_from_config(settings)
