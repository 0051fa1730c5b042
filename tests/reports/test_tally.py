"""What a comparison says of chance."""

import numpy as np
import pytest

from vtp_export.reports.tally import _margin


def pairs(changes):
    """Of each image, one question for each change: -1 for a question lost."""
    return [(f"{i}", change < 0, change > 0) for i, questions in enumerate(changes) for change in questions]


def test_the_interval_is_that_of_the_mean_where_images_ask_one_question():
    changes = np.random.default_rng(0).integers(-1, 2, 200)
    expected = 1.96 * changes.std(ddof=1) / np.sqrt(200)
    assert _margin(pairs([[change] for change in changes])) == pytest.approx(expected)


def test_questions_about_one_image_count_as_one():
    """Ten that always agree say no more than one of them."""
    changes = np.random.default_rng(1).integers(-1, 2, 50)
    alone = _margin(pairs([[change] for change in changes]))
    assert _margin(pairs([[change] * 10 for change in changes])) == pytest.approx(alone)


def test_it_covers_what_it_says():
    """Of 400 samples of images whose questions go together, about 95 in 100 contain the true difference."""
    noise = np.random.default_rng(2)
    covered = 0
    for _ in range(400):
        lost = noise.random(60) < 0.2  # of an image, or none of it
        sample = pairs([[-1 if gone else 0] * int(noise.integers(1, 9)) for gone in lost])
        change = sum(int(after) - int(before) for _, before, after in sample) / len(sample)
        covered += abs(change + 0.2) <= _margin(sample)
    assert 0.91 <= covered / 400 <= 0.98


def test_one_image_has_no_interval():
    assert _margin(pairs([[1, -1, 0]])) is None
