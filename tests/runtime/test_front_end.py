"""What an open artefact adds to a backend's session, whose laws are in `tests/laws/`: it checks, and it closes."""

import contextlib

import numpy as np
import pytest
import torch

from vtp_export.errors import ImageError, OutputError, VtpWarning
from vtp_export.runtime.artefact import open_artefact
from vtp_export.runtime.front_end import load


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
        with pytest.raises(OutputError, match="image 2 of the batch"):
            session.run_device(torch.from_numpy(pixels))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (torch.zeros(1, 3, 42, 42, dtype=torch.float16), "must be float32"),
        ([[0.0]], "not a list; .*__dlpack__"),
        (None, "not a NoneType"),
    ],
)
def test_arrays_of_a_device_are_refused_in_words(sessions, wrong, words):
    for session in sessions:
        with pytest.raises(ImageError, match=words):
            session.run_device(wrong)
