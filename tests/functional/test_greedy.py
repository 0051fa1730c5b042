"""The parts of the greedy methods: cosines that tie, the first of the largest, two recursions with known answers."""

import pytest
import torch

from vtp_export.functional.greedy import farthest_first, largest_determinant, rows_of
from vtp_export.functional.ranking import best
from vtp_export.functional.similarity import cosines, of_originals, originals


def test_cosines_of_equal_tokens_are_equal_and_zero_tokens_are_orthogonal():
    generator = torch.Generator().manual_seed(0)
    some = torch.randn(10, 1000, generator=generator)
    features = torch.cat([some, some[[3, 3, 7]], torch.zeros(2, 1000)])[None]
    cosine = cosines(features)[0]
    for copy, original in ((10, 3), (11, 3), (12, 7)):
        assert torch.equal(cosine[copy], cosine[original])
        assert cosine[copy, original] == 1
    assert torch.equal(cosine, cosine.T) or (cosine - cosine.T).abs().max() < 1e-6
    assert cosine[13:].abs().max() == 0
    exact = some.double() / some.double().norm(dim=1, keepdim=True)
    assert (cosine[:10, :10].double() - exact @ exact.T).abs().max() < 1e-6


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("d", [24, 64, 100])
def test_duplicates_have_the_same_cosines_to_the_last_bit(d, dtype):
    generator = torch.Generator().manual_seed(d)
    index = torch.randint(10, (8, 48), generator=generator)
    tokens = torch.randn(8, 10, d, generator=generator, dtype=dtype)
    cosine = cosines(tokens.gather(1, index[:, :, None].expand(-1, -1, d)))
    for image in range(8):
        for kind in index[image].unique():
            rows = cosine[image, index[image] == kind]
            assert (rows == rows[0]).all()


def test_a_product_that_rounds_duplicates_differently_is_mended():
    generator = torch.Generator().manual_seed(1)
    index = torch.randint(10, (3, 48), generator=generator)
    tokens = torch.randn(3, 10, 24, generator=generator).gather(1, index[:, :, None].expand(-1, -1, 24))
    gram = tokens @ tokens.transpose(1, 2)
    noisy = gram * (1 + 1e-6 * torch.randn(gram.shape, generator=generator))  # another runtime's kernel
    original = originals(tokens, noisy)
    mended = of_originals(noisy, original)
    for image in range(3):
        for kind in index[image].unique():
            same = index[image] == kind
            assert (original[image, same] == same.nonzero()[0]).all()
            assert (mended[image, same] == mended[image, same][0]).all()
            assert (mended[image, :, same] == mended[image, :, same][:, :1]).all()
    assert (mended - gram).abs().max() < 1e-5 * gram.abs().max()


def test_near_tokens_are_not_taken_for_equal():
    base = torch.randn(1, 64, generator=torch.Generator().manual_seed(2))
    near = base + 1e-4 * torch.randn(6, 64, generator=torch.Generator().manual_seed(3))
    distant = torch.randn(4, 64, generator=torch.Generator().manual_seed(4))
    features = torch.cat([base, near, distant])[None]
    exact = features.double() / features.double().norm(dim=-1, keepdim=True)
    assert (cosines(features).double() - exact @ exact.transpose(1, 2)).abs().max() < 1e-6


def test_best_is_the_first_of_the_largest():
    score = torch.tensor([[0.0, 2.0, 2.0], [-1e4, -1e4, -1e4], [-3.0, -2.0, -2.0]])
    assert best(score).tolist() == [1, 0, 1]


def test_farthest_first_on_a_line():
    place = torch.tensor([[0.0, 1.0, 2.0, 3.0, 10.0]])
    distance = (place[:, :, None] - place[:, None, :]).abs()
    chosen = farthest_first(torch.tensor([0]), rows_of(distance), 3)
    assert chosen[0].nonzero().flatten().tolist() == [0, 3, 4]  # 10 is farthest from 0, then 3


def test_determinant_takes_what_the_chosen_do_not_span():
    kernel = torch.tensor([[1.0, 0.0, -0.8], [0.0, 1.0, -0.6], [-0.8, -0.6, 1.0]])[None]  # the third lies in the plane
    even = torch.zeros(1, 3)
    assert largest_determinant(kernel, even, 2, 1e-4)[0].tolist() == [True, True, False]
    heavy = torch.tensor([[0.0, 0.0, 1.0]])  # first the third; then the one farther from it
    assert largest_determinant(kernel, heavy, 2, 1e-4)[0].tolist() == [False, True, True]
