"""Pixels are judged before tokens, against the model's own and not against the manifest's."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from vtp_export.graphs.assembly import source_of
from vtp_export.integrations.processors import image_processor
from vtp_export.parity.preprocessing import GATE, compare_pixels
from vtp_export.runtime.preprocess import clip_preprocessing, pixel_values

TRUE = clip_preprocessing(42)
PLAIN = Image.new("RGB", (42, 42), (128, 128, 128))
"""Of the model's own size: it is never resized, and nothing is cut off it."""

LIES = {
    "bilinear for bicubic": {"resample": 2},
    "mean and std swapped": {"mean": TRUE.std, "std": TRUE.mean},
    "another mean": {"mean": (TRUE.mean[0] + 1e-4, *TRUE.mean[1:])},
    "squashed, not cropped": {"resize_shortest": None, "resize_exact": (42, 42)},
    "padded": {"pad_to_square": True},
    "bytes, not shares": {"rescale_factor": 1.0},
    "a wider view": {"resize_shortest": 41},
    "another size": {"crop": (40, 40)},
    "nothing is divided": {"std": (0.0, 1.0, 1.0)},
}


def compared(preprocessing, other=None):
    others = {"the model": other or (lambda image: pixel_values([image], TRUE))}
    (comparison,) = compare_pixels(preprocessing, others, [("plain", PLAIN)])
    return comparison


def test_the_same_pixels_pass():
    comparison = compared(TRUE)
    assert (comparison.identical, comparison.images, comparison.largest) == (4, 4, 0.0)
    assert comparison.passed


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_other_pixels_fail_whatever_the_benchmark_shows(lie):
    comparison = compared(dataclasses.replace(TRUE, **LIES[lie]))
    (failure,) = comparison.failures
    assert "pictures get other pixels than the model takes" in failure
    assert comparison.largest > GATE


def test_the_worst_picture_is_named():
    def other(image):
        return pixel_values([image], TRUE) + (0.5 if image is PLAIN else 0.0)

    assert compared(TRUE, other).failures == (
        "1 of 4 pictures get other pixels than the model takes; those of plain differ by up to 0.5, above 1e-05",
    )


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_size_that_cannot_be_made_is_no_crash():
    comparison = compared(dataclasses.replace(TRUE, resize_exact=(10**6, 10**6)))
    assert "have another shape" in comparison.failures[0]


def test_transformers_own_class_is_taken_where_there_is_one():
    processor = image_processor(source_of("tiny-llava"))
    assert processor.name == "CLIPImageProcessorPil"
    assert np.array_equal(processor(PLAIN), pixel_values([PLAIN], clip_preprocessing(96)))


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("toy", "'toy' is no checkpoint of Transformers"),
        (source_of("toy"), "'toy' is no checkpoint of Transformers"),
        (".", "it has none for '.'"),
    ],
)
def test_where_there_is_none_the_reason_is_told(source, reason):
    assert reason in image_processor(source)
