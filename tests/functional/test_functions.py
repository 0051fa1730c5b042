"""Each function beside the plain loop that says what it is."""

import numpy as np
import pytest
import torch

from vtp_export.functional.attention import attention_entropy, attention_received, cls_attention
from vtp_export.functional.loop import repeat
from vtp_export.functional.merging import mixture, nearest_chosen, one_hot, rank_within
from vtp_export.functional.precision import at_least_float32
from vtp_export.functional.ranking import descending_rank, everything, positions
from vtp_export.functional.similarity import cosine_distance
from vtp_export.functional.sizes import diagonal, identity
from vtp_export.functional.walk import greedy_walk

GENERATOR = np.random.default_rng(0)
TIED = [[3, 1, 3, 2, 1], [0, 0, 0, 0, 0], [5, 4, 3, 2, 1]]


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_attention_rows_and_columns_are_those_of_the_whole_map(dtype):
    query, key = (torch.from_numpy(GENERATOR.standard_normal((2, 3, 7, 4))).to(dtype) for _ in range(2))
    whole = (at_least_float32(query * 0.5) @ at_least_float32(key).transpose(-1, -2)).softmax(-1).mean(1)
    row, column = cls_attention(query[:, :, :1], key, 0.5), attention_received(query, key, 0.5)
    assert row.dtype == column.dtype == (dtype if dtype == torch.float64 else torch.float32)
    torch.testing.assert_close(row, whole[:, 0], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(column, whole.mean(1), rtol=1e-5, atol=1e-6)


def test_attention_entropy_is_that_of_shares():
    weights = torch.tensor([[2.0, 2.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    torch.testing.assert_close(attention_entropy(weights), torch.tensor([2.0, 1.0, 1.0]).log())
    torch.testing.assert_close(attention_entropy(weights * 7), attention_entropy(weights))


def test_ranks_are_those_of_a_stable_sort():
    ranks = descending_rank(torch.tensor(TIED, dtype=torch.float32))
    for row, found in zip(TIED, ranks.tolist(), strict=True):
        order = sorted(range(len(row)), key=lambda i: (-row[i], i))
        assert [order.index(i) for i in range(len(row))] == found


def test_ranks_within_groups_are_those_of_each_group_alone():
    group = torch.tensor([[0, 1, 0, 1, 0]] * 3)
    found = rank_within(torch.tensor(TIED, dtype=torch.float32), group[:, :, None] == group[:, None, :])
    for row, ranks in zip(TIED, found.tolist(), strict=True):
        for own in ([0, 2, 4], [1, 3]):
            assert [ranks[i] for i in own] == [sorted(own, key=lambda j: (-row[j], j)).index(i) for i in own]


@pytest.mark.parametrize(
    ("chosen", "k", "expected"), [([0, 1, 0, 1], 2, [1, 3]), ([0, 0, 1, 0], 3, [2, 0, 1]), ([0] * 4, 2, [0, 1])]
)
def test_positions_ascend_and_the_first_of_the_others_fill_up(chosen, k, expected):
    assert positions(torch.tensor([chosen], dtype=torch.bool), k).tolist() == [expected]


def test_everything_is_every_position():
    assert everything(torch.zeros(2, 3, 5)).tolist() == [[0, 1, 2]] * 2


def test_cosine_distance_knows_zeros_and_duplicates():
    distance = cosine_distance(torch.tensor([[[3.0, 0.0], [6.0, 0.0], [0.0, 2.0], [-1.0, 0.0], [0.0, 0.0]]]))[0]
    expected = torch.tensor([[0.0, 0.0, 1.0, 2.0, 1.0], [0.0, 0.0, 1.0, 2.0, 1.0]])
    torch.testing.assert_close(distance[:2], expected, atol=1e-6, rtol=0)
    assert (distance >= 0).all()
    assert (distance[4] == 1).all()


def test_the_nearest_chosen_token_is_the_lowest_of_equals_and_a_chosen_one_is_its_own():
    cosine = torch.tensor([[[1.0, 0.9, 0.5], [0.9, 1.0, 0.5], [0.5, 0.5, 1.0]]])
    assert nearest_chosen(cosine, torch.tensor([[True, True, False]])).tolist() == [[0, 1, 0]]
    assert nearest_chosen(cosine, torch.tensor([[False, True, False]])).tolist() == [[1, 1, 1]]


def test_a_mixture_weighs_what_carries_its_label():
    label, weight = torch.tensor([[0, 2, 2, 0, -1]]), torch.tensor([[1.0, 1.0, 3.0, 4.0, 9.0]])
    mix = mixture(label, torch.tensor([[0, 2]]), weight)
    torch.testing.assert_close(mix, torch.tensor([[[0.2, 0, 0, 0.8, 0], [0, 0.25, 0.75, 0, 0]]]))
    assert one_hot(torch.tensor([[2, -1]]), 3, weight).tolist() == [[[0, 0, 1], [0, 0, 0]]]


def test_rounds_are_counted_whether_they_loop_or_not():
    state = torch.tensor([1.0])
    assert [repeat(lambda turn, now: now * 2 + turn, state, 3, loop).item() for loop in (True, False)] == [12.0, 12.0]
    assert repeat(lambda turn, now: now + 1, state, 0, True) is state


def test_a_walk_strikes_out_neighbours_and_fills_up_by_rank():
    rank, near = torch.tensor([[0.0, 1, 2, 3]]), torch.zeros(1, 4, 4, dtype=torch.bool)
    near[0, 0, 1] = near[0, 0, 2] = True
    for budget, kept in ((1, [0]), (2, [0, 3]), (3, [0, 1, 3]), (4, [0, 1, 2, 3])):
        found = greedy_walk(rank, near, torch.tensor([float(budget)]), 4, loop=False)
        assert found[0, :budget].tolist() == kept


def test_identity_and_diagonal():
    matrix = torch.arange(9.0).reshape(1, 3, 3)
    assert torch.equal(identity(3, matrix), torch.eye(3))
    assert diagonal(matrix).tolist() == [[0.0, 4.0, 8.0]]
