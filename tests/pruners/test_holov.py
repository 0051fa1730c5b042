"""HoloV: how the budget is shared among the runs of the raster."""

import torch

from vtp_export.functional.tokens import Tokens
from vtp_export.pruners.holov import Config, Pruner
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
