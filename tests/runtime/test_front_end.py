"""What an open artefact adds to a backend's session, whose laws are in `tests/laws/`: it checks, and it closes."""

import contextlib
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from PIL import Image

from vtp_export.errors import ImageError, OutputError, SpecError, VtpWarning
from vtp_export.runtime.artefact import open_artefact
from vtp_export.runtime.front_end import load
from vtp_export.runtime.preprocess import pixel_values


@pytest.fixture(scope="module")
def sessions(artefact):
    with contextlib.ExitStack() as opened:
        yield [opened.enter_context(load(artefact, fmt)) for fmt in open_artefact(artefact).manifest.formats()]


def test_closed_means_closed(artefact):
    session = load(artefact)
    pixels = np.zeros((1, 3, 42, 42), np.float32)
    session.run(pixels)
    session.close()
    with pytest.raises(ValueError, match="closed"):
        session.run(pixels)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (np.zeros((1, 3, 41, 42), np.float32), "42"),
        (np.zeros((1, 1, 42, 42), np.float32), "3"),
        (np.zeros((3, 42, 42), np.float32), "42"),
        (np.zeros((1, 3, 42, 42), np.float64), "float32"),
        (np.zeros((17, 3, 42, 42), np.float32), "16"),
        (np.full((1, 3, 42, 42), np.nan, np.float32), "finite|NaN|nan"),
    ],
)
def test_wrong_pixels_are_refused_by_every_format(sessions, bad, words):
    for session in sessions:
        with pytest.raises(ImageError, match=words):
            session.run(bad)


NOISE = np.random.default_rng(0).standard_normal((2, 3, 42, 42), dtype=np.float32)


@pytest.mark.parametrize(
    "laid_out",
    [
        NOISE.astype(">f4"),
        np.asfortranarray(NOISE),
        NOISE[:, ::-1, ::-1, ::-1].copy()[:, ::-1, ::-1, ::-1],
        NOISE.repeat(2, axis=3)[..., ::2],
        np.frombuffer(NOISE.tobytes(), np.float32).reshape(NOISE.shape),  # read only
        NOISE.view(np.recarray),
    ],
    ids=["byte order", "Fortran", "backwards", "every other", "read only", "subclass"],
)
def test_numbers_count_and_not_how_they_lie_in_memory(sessions, laid_out):
    assert np.array_equal(laid_out, NOISE)
    for session in sessions:
        for name, array in session.run(NOISE).arrays().items():
            assert np.array_equal(session.run(laid_out).arrays()[name], array)


def test_pixels_that_nobody_normalised_get_a_note(artefact):
    with load(artefact) as session:
        for pixels, words in ((NOISE * 40 + 127, "far beyond"), ((NOISE - NOISE.min()) / np.ptp(NOISE), "shares of 1")):
            with pytest.warns(VtpWarning, match=f"{words}.*normalised"):
                session.run(pixels.astype(np.float32))
        session.run(NOISE)


def test_an_image_whose_tokens_are_not_finite_is_named(sessions):
    pixels = NOISE[[0, 1, 0, 1]].copy()
    pixels[2] = 3e38
    for session in sessions:
        with pytest.warns(VtpWarning), pytest.raises(OutputError, match="image 2 of the batch is not finite") as caught:
            session.run(pixels)
        assert caught.value.images == (2,)
        assert "'dog.jpg' is not finite" in str(caught.value.named(["a.jpg", "b.jpg", "dog.jpg", "d.jpg"]))
        assert "pixels" not in str(caught.value), "those are known to be finite"
        with pytest.raises(OutputError, match=r"image 2 of the batch.*look whether its pixels are finite.*if they are"):
            session.run_device(torch.from_numpy(pixels))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (torch.zeros(1, 3, 42, 42, dtype=torch.float16), "must be float32"),
        (torch.zeros(1, 3, 42, 42, requires_grad=True), "cannot read the tensor where it is.*detach"),
        (np.zeros((1, 3, 42, 42), ">f4"), "cannot read the tensor where it is.*byte order"),
        (torch.zeros(1, 3, 42, 42, device="meta"), "(?i)cannot read the tensor where it is.*meta"),
        ([[0.0]], "not a list; .*__dlpack__"),
        (None, "not a NoneType"),
    ],
)
def test_arrays_of_a_device_are_refused_in_words(sessions, wrong, words):
    for session in sessions:
        with pytest.raises(ImageError, match=words):
            session.run_device(wrong)


# Images


@pytest.fixture(scope="module")
def photos():
    return np.random.default_rng(1).integers(0, 256, (20, 50, 60, 3), dtype=np.uint8)


def assert_same(output, expected):
    assert len(output) == len(expected)
    for found, wanted in zip(output, expected, strict=True):
        assert np.array_equal(found.kept, wanted.kept)
        assert np.allclose(found.tokens, wanted.tokens, atol=1e-5)


def test_images_come_as_people_have_them(artefact, photos, tmp_path):
    """One or many; more than the largest batch, which is 16."""
    paths = [tmp_path / f"{i:02}.png" for i in range(len(photos))]
    for path, photo in zip(paths, photos, strict=True):
        Image.fromarray(photo).save(path)
    with load(artefact) as session:
        expected = [session.run(pixel_values(path, session.manifest.preprocessing))[0] for path in paths]
        assert_same(session(photos), expected)
        assert_same(session(tmp_path), expected)
        assert_same(session(str(paths[3])), expected[3:4])
        assert_same(session(Image.open(paths[3])), expected[3:4])
        assert_same(session([paths[0], photos[1], str(paths[2]), Image.open(paths[3])]), expected[:4])
        given, kept = zip(*session.stream(tmp_path, batch=3), strict=True)
        assert given == tuple(paths)
        assert_same(kept, expected)
        with pytest.raises(ImageError, match="no images were given"):
            session([])
        with pytest.raises(ImageError, match="image 17 is a NoneType"):
            session([*photos[:17], None])
        for batch in (0, 17):
            with pytest.raises(SpecError, match=f"batch is {batch}; it must be 1 to 16"):
                session.stream(photos, batch)


def test_a_camera_is_answered_frame_by_frame(artefact, photos):
    shown = []

    def camera():
        for number, frame in enumerate(photos[:4]):
            shown.append(number)
            yield frame

    with load(artefact) as session:
        for number, (frame, kept) in enumerate(session.stream(camera(), batch=1)):
            assert shown[-1] == number and frame is not None and kept.num_kept == 8


def test_a_stream_names_what_is_not_finite(artefact, photos, tmp_path, monkeypatch):
    Image.new("L", (9, 9)).save(tmp_path / "dark.png")
    with load(artefact) as session:
        monkeypatch.setattr(session, "run", Mock(side_effect=OutputError("tokens", [1])))
        with pytest.raises(OutputError, match=r"'tokens' of '.*dark\.png' is not finite"):
            session([photos[0], tmp_path / "dark.png"])
