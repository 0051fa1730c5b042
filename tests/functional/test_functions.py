"""Each function beside the plain loop that says what it is."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from vtp_export.errors import SpecError, UnknownNameError
from vtp_export.functional.attention import attention_entropy, attention_received, cls_attention
from vtp_export.functional.devices import DTYPES, computing, dtype_of, prepare
from vtp_export.functional.erank import CHAIN, RESOLVED, Chain, null_traces, traces, weights
from vtp_export.functional.loop import repeat
from vtp_export.functional.merging import mixture, nearest_chosen, one_hot, rank_within
from vtp_export.functional.precision import at_least_float32
from vtp_export.functional.products import product
from vtp_export.functional.ranking import descending_rank, everything, positions
from vtp_export.functional.similarity import PIECES, cosine_distance, snapped, spectral_gram, unit_tokens
from vtp_export.functional.sizes import capturing, constant, diagonal, earlier, identity, static_size
from vtp_export.functional.walk import greedy_walk

HERE = Path(__file__).parent
GENERATOR = np.random.default_rng(0)
TIED = [[3, 1, 3, 2, 1], [0, 0, 0, 0, 0], [5, 4, 3, 2, 1]]


class Calling(nn.Module):
    """A function as a module."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, values):
        return self.function(values)


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


def test_rounds_are_counted():
    state = torch.tensor([1.0])
    assert repeat(lambda turn, now: now * 2 + turn, state, 3).item() == 12.0
    assert repeat(lambda turn, now: now + 1, state, 0) is state


def test_a_walk_strikes_out_neighbours_and_fills_up_by_rank():
    rank, near = torch.tensor([[0.0, 1, 2, 3]]), torch.zeros(1, 4, 4, dtype=torch.bool)
    near[0, 0, 1] = near[0, 0, 2] = True
    for budget, kept in ((1, [0]), (2, [0, 3]), (3, [0, 1, 3]), (4, [0, 1, 2, 3])):
        found = greedy_walk(rank, near, torch.tensor([float(budget)]), 4)
        assert found[0, :budget].tolist() == kept
    assert greedy_walk(rank, near, None, 3).tolist() == [[0, 1, 3]]


def test_identity_and_diagonal():
    matrix = torch.arange(9.0).reshape(1, 3, 3)
    assert torch.equal(identity(3, matrix), torch.eye(3))
    assert diagonal(matrix).tolist() == [[0.0, 4.0, 8.0]]
    assert torch.equal(earlier(3, matrix), torch.ones(3, 3, dtype=torch.bool).tril(-1))


@pytest.mark.parametrize(("k", "pieces"), [(6, 3), (7, 3), (2, 8), (5, 1)])
def test_a_product_in_pieces_is_the_product(k, pieces):
    left, right = (torch.from_numpy(GENERATOR.integers(-9, 9, shape)).double() for shape in ((2, 3, k), (2, k, 4)))
    assert torch.equal(product(left, right, pieces), left @ right)


def test_a_product_in_pieces_rounds_less():
    """In as many pieces as the Gram matrix takes: a third, half to be sure. Some libraries cut longer sums."""
    left, right = (torch.from_numpy(GENERATOR.random(shape)).float() for shape in ((1, 64, 384), (1, 384, 64)))
    exact = left.double() @ right.double()
    whole, pieces = (float((product(left, right, n) - exact).square().mean()) ** 0.5 for n in (1, PIECES))
    assert pieces < whole / 2


@pytest.mark.parametrize(("dtype", "step"), [(torch.float32, 2.0**-22), (torch.float64, 2.0**-32)])
def test_values_that_differ_by_rounding_alone_snap_to_one(dtype, step):
    value = 0.3 - 0.3 % step
    near = torch.tensor([value, value + 0.4 * step, value - 0.4 * step, value + 0.6 * step], dtype=dtype)
    assert (snapped(near) - value).tolist() == [0, 0, 0, step]


def test_tokens_at_unit_length_and_zero_stays():
    unit = unit_tokens(torch.tensor([[[3.0, 4.0], [0.0, 0.0], [0.0, -1e-3]]]))
    torch.testing.assert_close(unit, torch.tensor([[[0.6, 0.8], [0.0, 0.0], [0.0, -1.0]]]))


@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize(("n", "d", "m"), [(5, 9, 5), (9, 5, 5), (6, 6, 6)])
def test_the_smaller_gram_matrix_has_the_squared_singular_values(n, d, m, center):
    features = GENERATOR.standard_normal((n, d)) + 3
    gram, null = spectral_gram(torch.from_numpy(features)[None], center)
    assert gram.shape == (1, m, m)
    assert null == (center and n <= d)
    assert not null or gram[0].sum(1).abs().max() < 1e-9
    singular = np.linalg.svd(features - features.mean(0) * center, compute_uv=False)
    np.testing.assert_allclose(np.linalg.eigvalsh(gram[0].numpy())[::-1], singular**2, atol=1e-9)


@pytest.mark.parametrize(("like", "dtype"), [(torch.float16, torch.float32), (torch.float64, torch.float64)])
def test_constants_are_no_wider_than_what_they_meet(like, dtype):
    assert constant(np.array([0.1]), torch.zeros(1, dtype=like)).dtype == dtype


@pytest.mark.filterwarnings("ignore:`torch.jit.trace` is deprecated:DeprecationWarning")
def test_sizes_and_constants_are_meant_and_a_trace_is_noticed():
    seen = []

    def traced(values):
        seen.append(capturing())
        return values + static_size(values, -1) + constant(np.array([0.5]), values)

    assert not capturing()
    graph = torch.jit.trace(traced, torch.zeros(2, 3), check_trace=False)  # a warning would be an error
    assert seen == [True]
    assert graph(torch.zeros(4, 3)).tolist() == [[3.5] * 3] * 4
    assert graph(torch.zeros(1, 7)).tolist() == [[3.5] * 7], "the size is a constant"
    torch.export.export(Calling(traced), (torch.zeros(2, 3),))
    assert seen[1:] and all(seen[1:])


def test_a_device_and_a_dtype_are_orders():
    with pytest.raises(UnknownNameError, match=r"no device named 'npu'.*cpu, cuda"):
        prepare("npu")
    with pytest.raises(SpecError, match="threads is 0; it must be at least 1"):
        prepare("cpu", 0)
    with pytest.raises(UnknownNameError, match="no dtype named 'float64'"):
        dtype_of("float64")
    assert [dtype_of(name) for name in DTYPES] == [torch.float32, torch.float16, torch.bfloat16]
    prepare("cpu", 1)
    assert torch.get_num_threads() == 1


def test_threads_are_those_of_before_when_the_last_of_several_runs_has_ended():
    with computing():
        assert torch.get_num_threads() == 1
    first, second = computing(2), computing(3)
    first.__enter__()
    assert torch.get_num_threads() == 2
    second.__enter__()
    assert torch.get_num_threads() == 3
    first.__exit__(None, None, None)
    second.__exit__(None, None, None)
    assert torch.get_num_threads() == 1


@pytest.mark.parametrize("centred", [False, True])
def test_traces_are_those_of_the_eigenvalues_and_null_vectors_add_what_is_known(centred):
    """Of a projection onto few directions, plain: every element of the chain is a polynomial of it."""
    m, kept, chain = 12, 5, Chain(products=4, growth=2.0, neighbours=1, lift_at=2, lift=0.0)
    basis = np.linalg.qr(np.concatenate([np.ones((m, 1)), GENERATOR.standard_normal((m, kept))], 1))[0][:, 1:]
    found = traces(torch.from_numpy(basis @ basis.T)[None], centred, chain)[0].numpy()
    powers = [kept**-0.5]  # each eigenvalue, once the Frobenius norm is 1
    for k in range(1, 5):
        powers.append(powers[-1] - 2.0**k / 4 * powers[-1] ** 2)
    expected = [*powers, *(powers[i] * powers[j] for i, j in chain.pairs())]
    assert chain.pairs() == [(0, 1), (1, 2), (2, 3), (3, 4), (4, 4)]
    np.testing.assert_allclose(found - null_traces(m, centred, chain), kept * np.array(expected), atol=1e-12)
    assert null_traces(m, centred, chain).any() == centred


def test_weights_make_square_roots_of_chains():
    eigenvalues = np.array([1.0, 0.3, 1e-2, 1e-4])
    chain = [eigenvalues]
    for k in range(1, CHAIN.products + 1):
        chain.append(
            chain[-1] - CHAIN.growth**k / 4 * chain[-1] ** 2 + (CHAIN.lift * CHAIN.growth**-k) * (k == CHAIN.lift_at)
        )
    columns = np.stack([*chain, *(chain[i] * chain[j] for i, j in CHAIN.pairs())], 1) - null_traces(1, False, CHAIN)
    total, logs = (columns @ weights(CHAIN, RESOLVED)).T
    np.testing.assert_allclose(total, np.sqrt(eigenvalues), rtol=1e-3)
    np.testing.assert_allclose(logs, np.sqrt(eigenvalues) * np.log(eigenvalues), rtol=1e-2, atol=1e-3)
