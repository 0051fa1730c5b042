import dataclasses
import io
import json
import os
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from transformers.image_utils import load_image
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

import vtp_export
from vtp_export.errors import ImageError, SpecError
from vtp_export.runtime.images import read_image
from vtp_export.runtime.preprocess import (
    checked_pixels,
    clip_preprocessing,
    pixel_values,
    preprocessing_from_config,
    view_box,
)
from vtp_export.spec import BatchRange, Preprocessing, TensorSpec

ALPHA = ("LA", "RGBA", "PA", "P+one", "P+bytes", "RGB+one")
MODES = (*ALPHA, "RGB", "L", "P", "CMYK", "I;16", "I", "F", "1", "YCbCr")
SIZES = ((1, 1), (2, 3), (3, 2), (335, 336), (337, 501), (640, 480), (201, 99))


def picture(mode: str, size: tuple[int, int]) -> Image.Image:
    """Noise in every mode: all bytes occur, and no two filters agree on it."""
    width, height = size
    noise = np.random.default_rng(width * 7919 + height)
    base, _, transparent = mode.partition("+")
    if base in ("P", "1", "PA"):
        source = {"P": "RGB", "1": "L", "PA": "LA"}[base]
        image = picture(source, size)
        image = image.quantize(64) if base == "P" else image.convert(base)
    elif base == "I;16":
        data = noise.integers(0, 65536, (height, width), dtype=np.uint16)
        image = Image.frombytes("I;16", size, data.tobytes())
    elif base == "I":
        image = Image.fromarray(noise.integers(0, 70000, (height, width), dtype=np.int32))
    elif base == "F":
        image = Image.fromarray(noise.random((height, width), dtype=np.float32) * 300)
    else:
        bands = len(Image.new(base, (1, 1)).getbands())
        data = noise.integers(0, 256, (height, width, bands), dtype=np.uint8)
        image = Image.frombytes(base, size, data.tobytes())
    if transparent:
        by_palette = 3 if base == "P" else image.getpixel((0, 0))
        image.info["transparency"] = bytes(range(0, 256, 4)) if transparent == "bytes" else by_palette
    return image


def processor(edge: int = 336, **settings: object) -> CLIPImageProcessorPil:
    return CLIPImageProcessorPil(
        **{"size": {"shortest_edge": edge}, "crop_size": {"height": edge, "width": edge}, **settings}
    )


def settings_of(reference: object) -> dict:
    """What transformers would write to disk."""
    return json.loads(reference.to_json_string())


def assert_equal(images: list[Image.Image], reference: object, prep: Preprocessing) -> None:
    wanted = np.stack(reference(images)["pixel_values"])
    got = pixel_values(images, prep)
    assert got.dtype == np.float32
    assert got.flags.c_contiguous
    assert got.shape == wanted.shape
    assert np.array_equal(got, wanted)


# Equality with transformers


@pytest.mark.filterwarnings("ignore::vtp_export.errors.VtpWarning")
@pytest.mark.parametrize("mode", MODES)
def test_every_mode_equals_transformers(mode: str) -> None:
    reference = processor()
    prep = preprocessing_from_config(settings_of(reference), 336)
    assert prep == clip_preprocessing(336)
    assert_equal([picture(mode, size) for size in SIZES], reference, prep)


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P+bytes"])
def test_padding_to_a_square_equals_llava(mode: str) -> None:
    reference = LlavaImageProcessorPil(
        size={"shortest_edge": 336}, crop_size={"height": 336, "width": 336}, do_pad=True
    )
    prep = preprocessing_from_config(settings_of(reference), 336)
    assert prep == dataclasses.replace(clip_preprocessing(336), pad_to_square=True)
    assert_equal([picture(mode, size) for size in SIZES], reference, prep)


@pytest.mark.parametrize("size", [(6000, 4000), (2000, 7), (7, 2000)])
def test_huge_and_extreme_shapes_equal_transformers(size: tuple[int, int]) -> None:
    reference = processor(112)
    assert_equal([picture("RGB", size)], reference, preprocessing_from_config(settings_of(reference), 112))


@pytest.mark.parametrize(
    "settings",
    [
        {"size": {"shortest_edge": 90}},  # smaller than the crop: padded with zeros, an odd number of them
        {"size": {"shortest_edge": 91}},
        {"size": {"shortest_edge": 130}},
        {"size": {"height": 112, "width": 112}},
        {"size": {"height": 80, "width": 131}},
        {"do_resize": False},
        {"do_rescale": False},
        {"do_normalize": False},
        {"do_rescale": False, "do_normalize": False},
        {"do_center_crop": False, "size": {"height": 112, "width": 112}},
        {"resample": 0},
        {"resample": 1},
        {"resample": 2},
        {"resample": 5},
        {"rescale_factor": 1 / 127.5},
        {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6]},
        {"image_mean": 0.5, "image_std": 0.25},
    ],
    ids=str,
)
def test_settings_equal_transformers(settings: dict) -> None:
    reference = processor(112, **settings)
    prep = preprocessing_from_config(settings_of(reference), 112)
    images = [picture("RGB", size) for size in ((113, 251), (90, 91), (400, 300), (31, 30))]
    assert_equal(images, reference, prep)


def test_siglip_equals_transformers() -> None:
    reference = SiglipImageProcessorPil(size={"height": 84, "width": 84})
    prep = preprocessing_from_config(settings_of(reference), 84)
    assert prep.crop is None
    assert_equal([picture("RGBA", size) for size in SIZES], reference, prep)


def test_llava_without_crop_equals_transformers() -> None:
    reference = LlavaImageProcessorPil(size={"shortest_edge": 84}, do_center_crop=False, do_pad=True)
    assert_equal([picture("RGB", (50, 91))], reference, preprocessing_from_config(settings_of(reference), 84))


# Settings


def test_spellings_of_sizes() -> None:
    wanted = clip_preprocessing(336)
    old = {"feature_extractor_type": "CLIPFeatureExtractor", "size": 336, "crop_size": 336, "resample": 3}
    fast = {
        "image_processor_type": "CLIPImageProcessorFast",
        "size": {"shortest_edge": 336},
        "crop_size": {"height": 336, "width": 336},
        "image_mean": None,
    }
    llava = {**fast, "image_processor_type": "LlavaImageProcessorFast"}
    for config in (old, fast, llava):
        assert preprocessing_from_config(config, 336) == wanted
    square = preprocessing_from_config({**old, "size": [336, 336]}, 336)
    assert (square.resize_shortest, square.resize_exact) == (None, (336, 336))
    siglip = preprocessing_from_config({"image_processor_type": "SiglipImageProcessor", "size": 384}, 384)
    assert (siglip.resize_exact, siglip.crop, siglip.mean) == ((384, 384), None, (0.5, 0.5, 0.5))


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"image_processor_type": "Qwen2VLImageProcessor"}, "'Qwen2VLImageProcessor' is not supported"),
        ({"crop_size": 224}, "gives 224 x 224 pixels, and this model needs 336 x 336"),
        ({"do_center_crop": False}, "depends on the photo"),
        ({"size": {"shortest_edge": 336, "longest_edge": 500}}, "'size' is .* was expected"),
        ({"size": {"longest_edge": 336}}, "'size' is"),
        ({"size": 0}, "'size' is 0, and a whole number"),
        ({"size": True}, "'size' is True"),
        ({"size": 336.5}, r"'size' is 336\.5"),
        ({"crop_size": {"shortest_edge": 336}}, "'crop_size' is"),
        ({"crop_size": "336"}, "'crop_size' is '336'"),
        ({"image_mean": [0.5, 0.5]}, "'image_mean' is .* three numbers"),
        ({"image_std": [0.5, 0.5, 0]}, "'image_std' is .* three numbers from 1e-06"),
        ({"image_std": [0.5, 0.5, float("nan")]}, "'image_std' is .* three numbers up to"),
        ({"rescale_factor": 0}, "'rescale_factor' is 0, and a number from 1e-06 to 1e.06"),
        ({"rescale_factor": float("inf")}, "'rescale_factor' is inf"),
        ({"rescale_factor": 10**300}, r"'rescale_factor' is 10+\.\.\.0+, and"),
        ({"image_mean": [0.5, -(10**9), 0.5]}, "'image_mean' is .* three numbers up to"),
        ({"size": 10**9}, "'size' is 1000000000, and a whole number of pixels, 1 to 16384, was"),
        ({"crop_size": 2**62}, "'crop_size' is 4611686018427387904, and a whole number"),
        ({"size": {"shortest_edge": float("inf")}}, r"'size\.shortest_edge' is inf"),
        ({"image_processor_type": "x" * 9999}, "the image processor '.{,99}' is not supported"),
        ({"image_mean": "x" * 9999}, "'image_mean' is .{,99}, and"),
        ({"resample": 9}, "'resample' is 9"),
        ({"do_resize": "yes"}, "'do_resize' is 'yes', and true or false"),
        ({"do_flip_channel_order": True}, "step 'do_flip_channel_order' is not supported"),
        ({"do_pad": True, "pad_size": {"height": 400, "width": 400}}, "'pad_size' is"),
        (
            {"image_processor_type": "LlavaImageProcessor", "do_pad": True, "do_normalize": False},
            "do_pad without do_normalize",
        ),
        ([], "a JSON object was expected"),
    ],
    ids=lambda value: str(value)[:80],
)
def test_settings_that_are_refused(config: dict, reason: str) -> None:
    if isinstance(config, dict):
        config = {"size": 336, "crop_size": 336, **config}
    with pytest.raises(SpecError, match=reason):
        preprocessing_from_config(config, 336)


# Reading


def test_orientation_is_applied_as_transformers_does(tmp_path: Path) -> None:
    for orientation in range(1, 9):
        path = tmp_path / f"{orientation}.png"
        exif = Image.Exif()
        exif[0x0112] = orientation
        picture("RGB", (30, 20)).save(path, exif=exif)
        upright = read_image(path)
        assert upright.size == ((20, 30) if orientation >= 5 else (30, 20))
        assert np.array_equal(np.asarray(upright), np.asarray(load_image(str(path))))


@pytest.mark.filterwarnings("ignore::vtp_export.errors.VtpWarning")
def test_mode_and_transparency_survive_reading(tmp_path: Path) -> None:
    reference = processor(56)
    for mode in ("RGBA", "LA", "P+one", "P+bytes", "I;16", "1", "L"):
        path = tmp_path / "image.png"
        picture(mode, (40, 30)).save(path)
        with Image.open(path) as plain:
            assert_equal([read_image(path)], reference, clip_preprocessing(56))
            got = pixel_values([read_image(path)], clip_preprocessing(56))[0]
            assert np.array_equal(got, reference(plain)["pixel_values"][0])


def test_unreadable_files_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"no image file '.*absent\.jpg'"):
        read_image(tmp_path / "absent.jpg")
    with pytest.raises(ImageError, match="is a folder"):
        read_image(tmp_path)
    path = tmp_path / "photo.png"
    path.write_bytes(b"")
    with pytest.raises(ImageError, match="is empty"):
        read_image(path)
    path.write_text("not an image at all")
    with pytest.raises(ImageError, match="is not an image"):
        read_image(path)
    with pytest.raises(ImageError, match=r"cannot be read|no image file"):
        read_image("a\0b.png")


@pytest.mark.filterwarnings("ignore::vtp_export.errors.VtpWarning")
@pytest.mark.parametrize("kind", ["png", "jpeg", "gif", "webp", "bmp", "tiff"])
def test_truncated_and_garbled_files(tmp_path: Path, kind: str) -> None:
    buffer = io.BytesIO()
    picture("RGB", (64, 64)).save(buffer, kind)
    whole = buffer.getvalue()
    path = tmp_path / f"photo.{kind}"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ImageError, match=r"photo\."):
        read_image(path)
    noise = np.random.default_rng(0)
    for _ in range(30):
        garbled = bytearray(whole)
        for position in noise.integers(0, min(len(whole), 400), 4):
            garbled[position] = noise.integers(256)
        path.write_bytes(garbled)
        try:
            pixel_values([read_image(path)], clip_preprocessing(28))
        except ImageError as error:
            assert "\n" not in str(error)  # noqa: PT017 (either outcome is right; no other error is)


def test_large_photos_do_not_warn_and_bombs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "photo.png"
    Image.new("L", (30, 10)).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 200)  # it warns above, and refuses above twice that
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_image(path).size == (30, 10)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ImageError, match="too large to decode safely"):
        read_image(path)


def test_threads_leave_the_warning_filters_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second reader starts within the first and ends after it, unless they take turns."""
    path = tmp_path / "photo.png"
    picture("RGB", (50, 50)).save(path)
    before = list(warnings.filters)
    opened = Image.open

    def slow(source: Path) -> Image.Image:
        time.sleep(0.1)
        return opened(source)

    monkeypatch.setattr(Image, "open", slow)
    threads = [threading.Thread(target=read_image, args=[path]) for _ in range(2)]
    for thread in threads:
        thread.start()
        time.sleep(0.05)
    for thread in threads:
        thread.join()
    assert list(warnings.filters) == before


# Bounds


@pytest.mark.parametrize(
    ("size", "prep", "stage"),
    [
        ((6000, 1), clip_preprocessing(336), "2016000 x 336 when resized"),
        ((1, 6000), clip_preprocessing(336), "336 x 2016000 when resized"),
        (
            (30000, 1),
            dataclasses.replace(clip_preprocessing(336), pad_to_square=True),
            "30000 x 30000 when padded to a square",
        ),
    ],
)
def test_sizes_beyond_memory_are_refused(size: tuple[int, int], prep: Preprocessing, stage: str) -> None:
    with pytest.raises(ImageError, match=f"{stage}, more than 400 megapixels"):
        pixel_values([Image.new("L", size)], prep)


def test_a_file_whose_size_is_refused_is_named(tmp_path: Path) -> None:
    Image.new("1", (1, 30000)).save(tmp_path / "thin.png")
    with pytest.raises(ImageError, match=r"thin\.png' has 1 x 30000 pixels and would have 336 x"):
        pixel_values([tmp_path / "thin.png"], clip_preprocessing(336))


def test_nothing_to_see_is_refused() -> None:
    with pytest.raises(ImageError, match="no images were given"):
        pixel_values([], clip_preprocessing(28))
    with pytest.raises(ImageError, match="image 0 has 0 x 5 pixels; both"):
        pixel_values([Image.new("RGB", (0, 5))], clip_preprocessing(28))
    with pytest.raises(ImageError, match="image 0 has the mode 'La', which cannot be converted"):
        pixel_values([Image.new("La", (5, 5))], clip_preprocessing(28))
    loose = dataclasses.replace(clip_preprocessing(28), crop=None)
    with pytest.raises(ImageError, match="image 1 has"):
        pixel_values([Image.new("RGB", (5, 5)), Image.new("RGB", (9, 5))], loose)


def test_images_are_not_changed() -> None:
    image = picture("P+bytes", (40, 30))
    before = image.tobytes(), image.mode, dict(image.info)
    pixel_values([image], dataclasses.replace(clip_preprocessing(28), pad_to_square=True))
    assert (image.tobytes(), image.mode, dict(image.info)) == before


# Pixels handed over by the user

SPEC = TensorSpec("pixel_values", "float32", ("b", 3, 4, 4))


@pytest.mark.parametrize(
    ("pixels", "reason"),
    [
        ([[0.0]], "not a list; pass a NumPy array"),
        (np.zeros((3, 4, 4), np.float32), "has 3 axes"),
        (np.zeros((1, 4, 4, 3), np.float32), r"has shape \(1, 4, 4, 3\)"),
        (np.zeros((1, 3, 5, 4), np.float32), r"float32 of shape \(b, 3, 4, 4\), and the array has shape"),
        (np.zeros((1, 3, 4, 4)), r"the array is float64; use \.astype\('float32'\)"),
        (np.zeros((0, 3, 4, 4), np.float32), "has 0 images and this artefact takes 1 to 3"),
        (np.zeros((4, 3, 4, 4), np.float32), "has 4 images and this artefact takes 1 to 3"),
    ],
    ids=str,
)
def test_wrong_pixels_are_refused(pixels: np.ndarray, reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        checked_pixels(pixels, SPEC, BatchRange(1, 2, 3), clip_preprocessing(4))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_the_first_image_that_is_not_finite_is_named(value: float) -> None:
    pixels = np.zeros((3, 3, 4, 4), np.float32)
    checked_pixels(pixels, SPEC, BatchRange(1, 2, 3), clip_preprocessing(4))
    pixels[1, 2, 3, 3] = pixels[2, 0, 0, 0] = value
    with pytest.raises(ImageError, match="image 1 of the batch"):
        checked_pixels(pixels, SPEC, BatchRange(1, 2, 3), clip_preprocessing(4))


# What the model sees


@pytest.mark.parametrize(
    ("size", "pad", "box"),
    [
        ((640, 480), False, (80, 0, 560, 480)),
        ((480, 640), False, (0, 80, 480, 560)),
        ((640, 480), True, (0, -80, 640, 560)),
        ((480, 640), True, (-80, 0, 560, 640)),
        ((48, 48), False, (0, 0, 48, 48)),
    ],
)
def test_view_box(size: tuple[int, int], pad: bool, box: tuple[float, ...]) -> None:
    prep = dataclasses.replace(clip_preprocessing(240), pad_to_square=pad)
    assert view_box(size, prep) == pytest.approx(box)


def test_view_box_of_an_image_smaller_than_the_crop() -> None:
    prep = dataclasses.replace(clip_preprocessing(100), resize_shortest=None)
    assert view_box((61, 300), prep) == (-20, 100, 80, 200)


@pytest.mark.parametrize("size", [(61, 300), (300, 61), (97, 101), (500, 333)])
@pytest.mark.parametrize("pad", [False, True])
def test_view_box_finds_the_spot_that_the_model_sees(size: tuple[int, int], pad: bool) -> None:
    """A white spot in the photo must come out where the box says."""
    prep = dataclasses.replace(clip_preprocessing(224), pad_to_square=pad)
    spot = (size[0] // 2 + 7, size[1] // 2 - 5)
    image = Image.new("L", size)
    image.putpixel(spot, 255)
    seen = pixel_values([image], prep)[0].sum(axis=0)
    seen = seen - np.median(seen)
    if pad:  # the padding is brighter than the black photo
        blank = pixel_values([Image.new("L", size)], prep)[0].sum(axis=0)
        seen = pixel_values([image], prep)[0].sum(axis=0) - blank
    y, x = np.unravel_index(np.argmax(seen), seen.shape)
    left, top, right, _ = view_box(size, prep)
    pixel = (right - left) / 224
    assert left + (x + 0.5) * pixel == pytest.approx(spot[0] + 0.5, abs=0.5 + pixel)
    assert top + (y + 0.5) * pixel == pytest.approx(spot[1] + 0.5, abs=0.5 + pixel)


def test_importing_needs_neither_torch_nor_transformers() -> None:
    script = (
        "import sys, vtp_export.runtime.artefact, vtp_export.runtime.preprocess\n"
        "print(sorted({'torch', 'transformers', 'skimage', 'sklearn'} & set(sys.modules)))"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(vtp_export.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == "[]"
