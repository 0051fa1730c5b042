"""The one reader: whatever people have for an image comes out upright, or is refused in a sentence."""

import io
import sys
import types
import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from transformers.image_utils import load_image

from vtp_export.errors import ImageError, VtpWarning
from vtp_export.reports.overlay import overlay
from vtp_export.runtime import images
from vtp_export.runtime.images import as_image, as_images, image_endings, images_below, read_image
from vtp_export.runtime.preprocess import clip_preprocessing, pixel_values
from vtp_export.spec import Candidates, Layout

PREP = clip_preprocessing(28)
NOISE = np.random.default_rng(0).integers(0, 256, (30, 45, 3), dtype=np.uint8)


@pytest.fixture(params=range(1, 9))
def turned(request, tmp_path):
    """A photo as a phone writes it, by orientation."""
    exif = Image.Exif()
    exif[0x0112] = request.param
    Image.fromarray(NOISE).save(tmp_path / "photo.png", exif=exif)
    return tmp_path / "photo.png"


def test_every_way_to_name_a_photo_gives_the_same_pixels(turned):
    wanted = pixel_values([load_image(str(turned))], PREP)
    upright = read_image(turned)
    for photo in (
        turned,
        str(turned),
        Image.open(turned),
        upright,
        np.asarray(upright),
        np.asarray(upright)[:, ::-1][:, ::-1],
    ):
        assert np.array_equal(pixel_values([photo], PREP), wanted)
        assert np.array_equal(pixel_values(photo, PREP), wanted)


def test_an_overlay_is_as_upright_as_the_pixels(turned):
    layout = Layout(candidates=Candidates((4, 4)), image_size=(28, 28), patch=(7, 7), keep=2, slots=2)
    pictures = [
        overlay(photo, np.array([0, 1]), layout, PREP)
        for photo in (load_image(str(turned)), Image.open(turned), turned)
    ]
    assert len({(picture.size, picture.tobytes()) for picture in pictures}) == 1


def test_one_or_many():
    photo = Image.fromarray(NOISE)
    assert list(as_images(photo)) == [photo] and list(as_images("a.jpg")) == ["a.jpg"]
    assert [array.shape for array in as_images(np.stack([NOISE] * 3))] == [(30, 45, 3)] * 3
    assert list(as_images(iter(["a.jpg", photo]))) == ["a.jpg", photo]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (b"\xff\xd8", r"image 0 is a bytes; .*Image\.open\(io\.BytesIO"),
        (torch.zeros(3, 28, 28), "image 0 is a Tensor; a file name, a Pillow image or an"),
        (None, "image 0 is a NoneType"),
        (io.BytesIO(b"line\nline"), r"image 0 is a BytesIO; .*Image\.open\(file\)"),
        ({"a.jpg": 1}, "image 0 is a dict"),
        (NOISE.astype(np.float32), r"float32 of shape \(30, 45, 3\); bytes of RGB, uint8 of shape"),
        (NOISE[:, :, 0], r"uint8 of shape \(30, 45\); .*Image\.fromarray"),
        (NOISE.transpose(2, 0, 1), r"uint8 of shape \(3, 30, 45\)"),
        (np.zeros((2, 3, 28, 28), np.float32), "preprocessed already are for run"),
        (np.ma.masked_array(NOISE, NOISE > 9), "masked array; fill it"),
        (Image.new("RGB", (0, 5)), "image 0 has 0 x 5 pixels; both"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_image_is_refused_in_words(wrong, words):
    for given in (wrong, [wrong]):
        with pytest.raises(ImageError, match=words):
            pixel_values(given, PREP)


def test_a_damaged_image_that_was_opened_lazily_is_one_sentence(tmp_path):
    path = tmp_path / "photo.png"
    Image.fromarray(NOISE).save(path)
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(ImageError, match=r"photo\.png' is damaged"), Image.open(path) as damaged:
        as_image(damaged)
    gone = Image.open(io.BytesIO(path.read_bytes()))
    gone.fp.close()
    with pytest.raises(ImageError, match="the image is damaged or cannot be read"):
        as_image(gone)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.full((5, 5), 40000, np.uint16), "from 40000 to 40000 .*the rest is cut off"),
        (np.full((5, 5), -4, np.int32), "the rest is cut off"),
        (np.full((5, 5), 0.5, np.float32), "it is black; scale it"),
        (np.full((5, 5), 300, np.float32), "the rest is cut off"),
    ],
)
def test_numbers_that_are_no_bytes_get_a_note(array, words, tmp_path):
    with pytest.warns(VtpWarning, match=f"image 0 has numbers {words}|image 0 .*{words}"):
        pixel_values([Image.fromarray(array)], PREP)
    Image.fromarray(array).save(tmp_path / "scan.tiff")
    with pytest.warns(VtpWarning, match=r"scan\.tiff' has numbers"):
        pixel_values([tmp_path / "scan.tiff"], PREP)


def test_numbers_that_are_bytes_get_none():
    for dtype in (np.int32, np.float32):
        assert pixel_values([Image.fromarray(NOISE[:, :, 0].astype(dtype))], PREP).any()


def test_an_animation_gets_a_note_and_two_lenses_do_not(tmp_path):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    for ending in ("gif", "webp", "tiff"):
        frames[0].save(tmp_path / f"a.{ending}", save_all=True, append_images=frames[1:])
        with pytest.warns(VtpWarning, match="several images, and the first is used"):
            assert read_image(tmp_path / f"a.{ending}").convert("RGB").getpixel((4, 4))[0] > 200
    frames[0].save(tmp_path / "phone.jpg", "MPO", save_all=True, append_images=frames[1:])
    assert read_image(tmp_path / "phone.jpg").size == (8, 8)


def test_a_video_is_no_image(tmp_path):
    for ending in (".mp4", ".MOV", ".webm"):
        (tmp_path / f"clip{ending}").write_bytes(b"\0\0\0\x18ftypmp42" + bytes(99))
        with pytest.raises(ImageError, match=r"is not an image that Pillow can read: videos are not read; give the fr"):
            read_image(tmp_path / f"clip{ending}")
    with pytest.raises(
        ImageError, match=r"uint8 of shape \(1, 2, 4, 4, 3\): videos are not read; .* as an image, \(h, w"
    ):
        list(map(as_image, as_images(np.zeros((1, 2, 4, 4, 3), np.uint8))))


def test_of_a_pillow_image_of_several_the_one_it_stands_at_is_used(tmp_path):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    with Image.open(tmp_path / "a.gif") as image:
        image.seek(1)
        assert as_image(image).convert("RGB").getpixel((4, 4))[2] > 200


def test_a_folder_is_all_that_pillow_decodes(tmp_path):
    assert {".jfif", ".avif", ".jp2", ".tga", ".jpg", ".pgm"} <= image_endings()
    assert not {".h5", ".eps", ".mpg", ".heic", ".pdf", ".txt"} & image_endings()
    for name in ("b.JFIF", "sub/a.avif", ".hidden.jpg", ".git/c.png", "notes.txt", "d.heic"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with pytest.warns(VtpWarning, match="1 HEIC photos below .* pip install pillow-heif"):
        assert [path.relative_to(tmp_path).as_posix() for path in images_below(tmp_path)] == ["b.JFIF", "sub/a.avif"]
    with pytest.raises(ImageError, match="no folder"):
        images_below(tmp_path / "absent")


def test_heic_is_read_once_its_library_is_there(tmp_path, monkeypatch):
    Image.fromarray(NOISE).save(tmp_path / "photo.png")
    photo = (tmp_path / "photo.png").rename(tmp_path / "photo.heic")
    assert read_image(photo).size == (45, 30)  # what it is counts, not what it is called
    photo.write_bytes(b"\0\0\0\x18ftypheic")
    with pytest.raises(ImageError, match=r"photo\.heic' is not an image that Pillow can read: pip install pillow-heif"):
        read_image(photo)
    registered = []
    library = types.SimpleNamespace(register_heif_opener=lambda: registered.append(True))
    monkeypatch.setitem(sys.modules, "pillow_heif", library)
    monkeypatch.setattr(images.importlib.util, "find_spec", lambda name: name == "pillow_heif" or None)
    assert ".heic" in image_endings() and images_below(tmp_path) == [photo]
    assert registered


def test_a_note_is_a_warning_that_can_be_turned_off(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", VtpWarning)
        pixel_values([Image.fromarray(np.full((5, 5), 40000, np.uint16))], PREP)
