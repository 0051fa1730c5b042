"""HoloV: how the budget is shared among the runs of the raster."""

import numpy as np
import torch

from vtp_export.functional.tokens import Tokens
from vtp_export.pruners.holov import Config, Pruner
from vtp_export.reference import holov
from vtp_export.reference.base import Signals
from vtp_export.spec import Candidates

N, RUN = 40, 8


def kept_by_run(saliency, features, **settings) -> list[int]:
    """How many tokens each of five runs of 8 keeps."""
    pruner = Pruner(Config(keep=20, chunks=5, **settings), Candidates((1, N)))
    kept = pruner(Tokens(features[None], features[None], saliency[None])).kept[0]
    assert len(kept.unique()) == 20
    return torch.bincount(kept // RUN, minlength=5).tolist()


def test_runs_that_are_full_pass_on_what_they_are_due():
    saliency = torch.full((N,), 1e-4)
    saliency[RUN : 2 * RUN] = 1.0  # the second run is due nearly everything, and has 8
    saliency[4 * RUN :] = 2e-4  # the fifth scores highest of the others
    features = torch.randn(N, 24, generator=torch.Generator().manual_seed(0))
    assert kept_by_run(saliency, features) == [4, 8, 0, 0, 8]


def test_the_variance_of_cosines_counts_where_it_is_not_cancelled():
    features = torch.randn(N, 24, generator=torch.Generator().manual_seed(0))
    features[:RUN] = torch.eye(24)[:RUN]  # all cosines 0: no variance, where beta adds 9 % to every other run
    saliency = torch.full((N,), 1 / N)
    # Shares of 20: 3.73 and 4.07 four times; the one that is left goes to the first of the best.
    assert kept_by_run(saliency, features) == [3, 5, 4, 4, 4]
    assert kept_by_run(saliency, features, beta=0.0) == [4, 4, 4, 4, 4]


def test_no_attention_means_equal_shares():
    features = torch.randn(N, 24, generator=torch.Generator().manual_seed(0))
    assert kept_by_run(torch.zeros(N), features) == [4, 4, 4, 4, 4]


def test_shares_that_hardly_differ_are_ordered_as_the_reference_orders_them():
    generator = np.random.default_rng(0)
    pruner, differing = Pruner(Config(keep=8), Candidates((1, 36))), 0
    for _ in range(500):
        saliency = (1 + 1e-4 * generator.standard_normal(36)).astype(np.float32) / 36  # of a tower without a preference
        features = generator.standard_normal((36, 24), dtype=np.float32)
        kept = pruner(Tokens(*map(torch.from_numpy, (features[None], features[None], saliency[None])))).kept[0]
        signals = Signals(candidates=Candidates((1, 36)), hidden=features, projected=features, saliency=saliency)
        expected = holov.select(signals, {"keep": 8, "chunks": 16, "beta": 0.09}).kept
        differing += not np.array_equal(kept.numpy(), expected)
    assert differing <= 6  # one rounding moves 2; a second one, on the grid of the first, moved 24
