"""The record of a batch, and the result of one view of it."""

import dataclasses

import numpy as np
import pytest

from vtp_export.errors import ArtefactError
from vtp_export.runtime.output import Output


@pytest.fixture
def arrays():
    """Two views of which the second fills two of three slots."""
    return {
        "tokens": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
        "kept": np.array([[0, 4, 7], [2, 5, -1]]),
        "num_kept": np.array([3, 2]),
        "attention_entropy": np.array([1.5, 2.5], np.float32),
    }


def test_a_view_has_no_empty_slots(arrays):
    first, second = Output.of(arrays)
    assert first.kept.tolist() == [0, 4, 7] and first.tokens.shape == (3, 4)
    assert second.kept.tolist() == [2, 5] and second.num_kept == 2
    assert np.array_equal(second.tokens, arrays["tokens"][1, :2])


def test_a_view_says_how_complex_it_is(arrays):
    view = Output.of(arrays)[1]
    assert view.erank is None
    assert view.complexity == view.attention_entropy == 2.5
    assert dataclasses.replace(view, erank=30.0).complexity == 30.0
    assert Output.of({**arrays, "erank": np.array([4, 8], np.float32)})[1].erank == 8.0


def test_positions_end_where_slots_do(arrays):
    view = Output.of({**arrays, "position_ids": np.arange(18).reshape(2, 3, 3)})[1]
    assert view.position_ids.tolist() == [[9, 10], [12, 13], [15, 16]]
    assert Output.of(arrays)[1].position_ids is None


def test_an_anchor_of_no_candidate_is_no_empty_slot(arrays):
    arrays["kept"][1] = -1, 5, -1
    assert Output.of(arrays)[1].kept.tolist() == [-1, 5]


def test_batches_are_joined(arrays):
    one, output = Output.of(arrays), Output.joined([Output.of(arrays)] * 2)
    assert len(output) == 4
    assert output.arrays().keys() == arrays.keys()
    assert np.array_equal(output[3].tokens, one[1].tokens)


def test_there_is_no_view_past_the_last(arrays):
    with pytest.raises(IndexError):
        Output.of(arrays)[2]


def test_an_output_that_is_not_known_is_named(arrays):
    with pytest.raises(ArtefactError, match=r"'depth' is not known here; known are: tokens, kept, .*version"):
        Output.of({**arrays, "depth": arrays["num_kept"]})


def test_an_output_that_is_missing_is_named(arrays):
    del arrays["kept"]
    with pytest.raises(ArtefactError, match="'kept' is missing; there are: tokens, num_kept, attention_entropy"):
        Output.of(arrays)
