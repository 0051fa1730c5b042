"""What a comparison says of chance."""

import numpy as np
import pytest
import scipy.stats

from vtp_export.parity.chance import bootstrap, exchanges, of_means, sign_flips


def margin_of(changes):
    """Half of the interval; of each image, one question for each change."""
    low, high = of_means([sum(questions) for questions in changes], [len(questions) for questions in changes])
    return (high - low) / 2


def test_the_interval_is_that_of_the_mean_where_images_ask_one_question():
    changes = np.random.default_rng(0).integers(-1, 2, 200)
    expected = 1.96 * changes.std(ddof=1) / np.sqrt(200)
    assert margin_of([[change] for change in changes]) == pytest.approx(expected)


def test_questions_about_one_image_count_as_one():
    """Ten that always agree say no more than one of them."""
    changes = np.random.default_rng(1).integers(-1, 2, 50)
    alone = margin_of([[change] for change in changes])
    assert margin_of([[change] * 10 for change in changes]) == pytest.approx(alone)


def test_it_covers_what_it_says():
    """Of 400 samples of images whose questions go together, about 95 in 100 contain the true difference."""
    noise = np.random.default_rng(2)
    covered = 0
    for _ in range(400):
        lost = noise.random(60) < 0.2  # of an image, or none of it
        sample = [[-1 if gone else 0] * int(noise.integers(1, 9)) for gone in lost]
        low, high = of_means([sum(one) for one in sample], [len(one) for one in sample])
        covered += low <= -0.2 <= high
    assert 0.91 <= covered / 400 <= 0.98


def test_one_image_has_no_interval():
    assert of_means([0.0], [3]) is None
    assert bootstrap(lambda numbers: 0.0, 1) is None


@pytest.mark.parametrize("images", [7, 14])
def test_exchanges_of_few_images_are_all_counted(images):
    """As SciPy's permutation test of paired samples."""
    changes = np.random.default_rng(images).normal(0.4, 1, images)
    wanted = scipy.stats.permutation_test(
        (changes, np.zeros(images)), lambda a, b: np.sum(a - b), permutation_type="samples", n_resamples=np.inf
    )
    assert sign_flips(changes) == pytest.approx(wanted.pvalue)
    assert sign_flips([*changes, 0, 0]) == sign_flips(changes)
    assert sign_flips([]) == sign_flips([0.0]) == 1


def test_exchanges_of_many_images_are_drawn():
    """Close to a normal sum of signs, seeded, and never 0."""
    changes = np.random.default_rng(3).choice([-1.0, 1.0], 400, p=[0.45, 0.55])
    chance = 2 * scipy.stats.norm.sf(abs(changes.sum()) / 20)
    assert sign_flips(changes) == sign_flips(changes) == pytest.approx(chance, rel=0.3)
    assert 0 < sign_flips([1.0] * 400) < 2e-4


def test_any_metric_can_be_exchanged_and_drawn_again():
    """A mean, so that the other ways are known."""
    before, after = np.random.default_rng(4).random((2, 60))

    def exchanged(turned):
        return float(np.where(turned, before - after, after - before).mean())

    assert exchanges(exchanged, np.ones(60, bool)) == pytest.approx(sign_flips(after - before), abs=0.05)
    few = np.arange(60) < 8
    same = np.where(few, after, before)
    of_few = exchanges(lambda turned: float(np.where(turned, before - same, same - before).mean()), few)
    assert of_few == pytest.approx(sign_flips(same - before))
    low, high = bootstrap(lambda numbers: float((after - before)[numbers].mean()), 60)
    wanted = of_means(after - before, [1] * 60)
    np.testing.assert_allclose((low, high), wanted, atol=0.15 * (wanted[1] - wanted[0]))
    assert exchanges(exchanged, np.zeros(60, bool)) == 1
