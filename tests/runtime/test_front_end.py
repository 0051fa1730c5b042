"""What an open artefact adds to a backend's session, whose laws are in `tests/laws/`: it checks, and it closes."""

import contextlib

import numpy as np
import pytest

from vtp_export.errors import ImageError
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
