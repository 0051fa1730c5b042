"""Which batches are visited."""

import pytest

from vtp_export.parity.batches import other_sizes, repeated, usual_size
from vtp_export.spec import BatchRange


@pytest.mark.parametrize(
    ("limits", "usual", "others"),
    [
        ((1, 1, 16), 16, (1, 3)),
        ((1, 4, 8), 8, (1, 3, 4)),
        ((1, 8, 64), 16, (1, 3, 8, 64)),
        ((1, 3, 4), 4, (1, 3)),
        ((2, 2, 8), 8, (2, 3)),
        ((1, 1, 2), 2, (1,)),
        ((4, 4, 4), 4, ()),
        ((32, 32, 40), 32, (33, 40)),
    ],
)
def test_the_smallest_the_usual_the_largest_and_an_odd_one(limits, usual, others):
    assert usual_size(BatchRange(*limits)) == usual
    assert other_sizes(BatchRange(*limits), usual) == others
    assert {*others, usual} >= set(limits)


def test_a_size_that_was_not_visited_in_full_is_visited():
    assert other_sizes(BatchRange(1, 1, 16), 0) == (1, 3, 16)


def test_images_take_turns_or_are_alone():
    assert repeated(5, 2, alone=False) == [[0, 1, 0, 1, 0]]
    assert repeated(2, 4, alone=True) == [[0, 0], [1, 1], [2, 2]]
