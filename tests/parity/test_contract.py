"""What is wrong in a result whatever it is held against, empty slots included."""

import numpy as np
import pytest

from vtp_export.parity.contract import breaches, not_finite
from vtp_export.runtime.output import Output
from vtp_export.spec import Candidates, Layout

LAYOUT = Layout(candidates=Candidates((3, 4)), image_size=(42, 42), patch=(14, 10), keep=3, slots=4)


def output(**changes):
    """Two images: one with an empty slot, one without."""
    arrays = {
        "tokens": np.array([[[1, 2], [3, 4], [5, 6], [0, 0]], [[1, 1], [2, 2], [3, 3], [4, 4]]], np.float32),
        "kept": np.array([[0, 5, 11, -1], [1, 2, 3, 4]]),
        "num_kept": np.array([3, 4]),
        "erank": np.array([5.0, 6.0], np.float32),
    }
    for name, (at, value) in changes.items():
        arrays[name][at] = value
    return Output(**arrays)


def found(changes, view=0, ascending=True, merges=False):
    return breaches(output(**changes), view, LAYOUT, ascending, merges)


def test_what_keeps_the_contract_passes():
    assert found({}) == found({}, view=1) == ()


PLANTED = {
    "a token where nothing is": ({"tokens": ((0, 3, 1), 0.5)}, "'tokens' is not zero in slot 3, past num_kept (3)"),
    "a position where nothing is": (
        {"kept": ((0, 3), 0)},
        "'kept' is 0 in slot 3, past num_kept (3), and must be -1",
    ),
    "no number in an empty slot": ({"tokens": ((0, 3, 1), np.nan)}, "'tokens' holds a NaN or an infinity"),
    "an infinite token": ({"tokens": ((0, 0, 0), -np.inf)}, "'tokens' holds a NaN or an infinity"),
    "no complexity": ({"erank": (0, np.nan)}, "'erank' holds a NaN or an infinity"),
    "more than there are slots": ({"num_kept": (0, 5)}, "num_kept is 5, and must be from 1 to 4"),
    "none": ({"num_kept": (0, 0)}, "num_kept is 0, and must be from 1 to 4"),
    "a place that is none": ({"kept": ((0, 2), 12)}, "'kept' holds 12, and must be from 0 to 11"),
    "no place": ({"kept": ((0, 0), -1)}, "'kept' holds -1, and must be from 0 to 11"),
    "the same twice": ({"kept": ((0, 1), 0)}, "'kept' holds a position twice"),
    "another order": ({"kept": ((0, 0), 6)}, "'kept' does not ascend, as it must for this method"),
}


@pytest.mark.parametrize("what", PLANTED)
def test_what_is_planted_is_named(what):
    changes, sentence = PLANTED[what]
    assert sentence in found(changes)
    assert found(changes, view=1) == ()  # and in its own image alone


def placed(positions):
    """The first image alone, with positions (3, k)."""
    arrays = {name: array[:1] for name, array in output().arrays().items()}
    return breaches(Output(**arrays, position_ids=np.array([positions])), 0, LAYOUT, True, False)


def test_positions_are_those_of_what_is_kept():
    right = [[0, 0, 0, -1], [0, 1, 2, -1], [0, 1, 3, -1]]
    assert placed(right) == ()
    for axis, slot in ((0, 0), (1, 1), (2, 2), (2, 3)):
        wrong = np.array(right)
        wrong[axis, slot] += 1
        (sentence,) = placed(wrong)
        assert sentence.startswith(f"'position_ids' of slot {slot} are {wrong[:, slot].tolist()}, and candidate")


def test_what_a_method_may_do_is_no_breach():
    assert found({"kept": ((0, 0), 6)}, ascending=False) == ()
    assert found({"kept": ((0, 0), -1)}, merges=True) == ()


def test_a_graph_that_is_not_finite_is_named():
    result = output()[0]
    assert not_finite(result) == ()
    (sentence,) = not_finite(output(erank=(0, np.inf))[0])
    assert "the graph itself, in float32, gives 'erank' that is not finite" in sentence
