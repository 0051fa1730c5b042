"""HoloV: a share of the budget for every band of the picture, then the most attended tokens of each band.

Its rules, for any n and k:

1. The tokens, in raster order, are cut into `chunks` runs of equal length (the first ones one longer where n does not
   divide). The paper speaks of crops; runs of the raster, here 16 of 36 tokens, are horizontal bands.
2. In a run of m, with S the cosines, their diagonal set to 0: mean and variance of every row, both divided by m - 1,
   the zero of the diagonal counted in. With a = 1000 * attention, the run scores mean(a + beta * variance * ratio),
   ratio = mean(a) / (mean(variance) + 1e-6). That ratio cancels the mean of the variance, so the score is (1 + beta)
   * mean(a) unless all cosines are nearly 0: in effect the budget follows attention. Followed as released.
3. Each run gets the whole part of its share of k; what is left goes one by one to the runs of highest score.
4. Each run gives its most attended tokens.

CLS is dropped.

Source: Zou et al., "Don't Just Chase Highlighted Tokens in MLLMs: Revisiting Visual Holistic Context Retention" (HoloV,
NeurIPS 2025); repository obananas/HoloV.
Licence: Apache-2.0.
Differs: a run that is due more than it has passes the surplus to the runs of highest score that have room, where the
release fills up with zero vectors; all-zero attention means equal shares; a run of one token is scored like the others
(the release forgets the factor 1000); a share counts as whole from 2^-12 below on, and shares are compared in steps of
2^-16, so that rounding decides nothing. The release orders the tokens of a run by attention; here the output is in
spatial order.
Cost: cosines within each run, n^2 / chunks pairs; orders of n weights. No loop.
Published: 95.8 % of the full model at 64 tokens (abstract).
Use it when: choice by attention must not lose whole regions.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from vtp_export.functional.precision import at_least_float32
from vtp_export.functional.ranking import descending_rank, positions
from vtp_export.functional.similarity import snapped
from vtp_export.functional.sizes import identity, static_size
from vtp_export.functional.tokens import Selection, Tokens
from vtp_export.pruners import base
from vtp_export.settings import at_least
from vtp_export.spec import Candidates

EPSILON = 1e-6
NEARLY_WHOLE = 2.0**-12
SHARE_GRID = 2.0**16


@dataclass(frozen=True)
class Config(base.Config):
    """Settings of HoloV.

    chunks: runs of the raster that share the budget; at most one per token.
    beta: weight of the variance of cosines (`alpha` in the release).
    """

    chunks: int = at_least(16, 1, source="the release")
    beta: float = at_least(0.09, 0, source="the release")


def needs(config: Config) -> frozenset[str]:
    """What `forward` reads."""
    return frozenset({"projected", "saliency"})


class Pruner(base.Pruner):
    """Shares by run, then attention within the run.

    Runs are laid out as rows of m, the longest; `where_from` (c m) says which token a cell holds, `is_token` (c, m)
    whether it holds one, and `cell_of` (n) the way back.
    """

    where_from: Tensor
    is_token: Tensor
    cell_of: Tensor

    def __init__(self, config: Config, candidates: Candidates) -> None:
        super().__init__(config, candidates)
        self.method = base.Method(slots=self.keep, needs=needs(config), stage="projected", by_place=True)
        self.beta = config.beta
        self.chunks = min(config.chunks, candidates.n)
        sizes = torch.tensor([(candidates.n + self.chunks - 1 - chunk) // self.chunks for chunk in range(self.chunks)])
        is_token = torch.arange(int(sizes.max())) < sizes[:, None]
        starts = sizes.cumsum(0) - sizes
        where_from = torch.where(is_token, starts[:, None] + torch.arange(is_token.shape[1]), 0)
        self.register_buffer("where_from", where_from.flatten(), persistent=False)
        self.register_buffer("is_token", is_token, persistent=False)
        self.register_buffer("cell_of", is_token.flatten().nonzero().squeeze(1), persistent=False)

    def forward(self, tokens: Tokens) -> Selection:
        """Choose from `projected` (b, n, d) and `saliency` (b, n)."""
        assert tokens.projected is not None and tokens.saliency is not None
        attention = self._runs(at_least_float32(tokens.saliency)[:, :, None]).squeeze(-1)  # (b, c, m)
        variance = self._variance(self._runs(at_least_float32(tokens.projected)))
        quota = self._quota(self._score(attention, variance))  # (b, c)
        lowest = torch.finfo(attention.dtype).min
        rank = descending_rank(torch.where(self.is_token, attention, lowest).flatten(0, 1))
        chosen = rank.unflatten(0, (-1, self.chunks)) < quota[:, :, None]
        return Selection(positions(chosen.flatten(1).index_select(1, self.cell_of), self.keep))

    def _runs(self, values: Tensor) -> Tensor:
        """(b, n, d) to (b, c, m, d); a cell without a token repeats token 0."""
        runs: Tensor = values.index_select(1, self.where_from).unflatten(1, (self.chunks, -1))
        return runs

    def _variance(self, features: Tensor) -> Tensor:
        """Variance of each token's cosines to the others of its run, (b, c, m), 0 in cells without a token."""
        unit = features / (features.norm(dim=-1, keepdim=True) + EPSILON)
        itself = identity(static_size(features, 2), features) > 0
        pair = self.is_token[:, :, None] & self.is_token[:, None, :]  # (c, m, m)
        cosine = torch.where(pair & ~itself, unit @ unit.transpose(-1, -2), 0.0)
        others = (self.is_token.sum(-1)[:, None, None] - 1).clamp(min=1)  # (c, 1, 1)
        deviation = torch.where(pair, cosine - cosine.sum(-1, keepdim=True) / others, 0.0)
        return (deviation.square() / others).sum(-1)

    def _score(self, attention: Tensor, variance: Tensor) -> Tensor:
        """Score of each run, (b, c)."""
        size = self.is_token.sum(-1)
        attention = torch.where(self.is_token, 1000 * attention, 0.0)
        attention_mean, variance_mean = attention.sum(-1) / size, variance.sum(-1) / size
        ratio = attention_mean / (variance_mean + EPSILON)
        return attention_mean + self.beta * variance_mean * ratio

    def _quota(self, score: Tensor) -> Tensor:
        """How many tokens each run gives, (b, c) whole numbers that sum to k."""
        total = score.sum(-1, keepdim=True)
        share = torch.where(total > 0, score / total.clamp(min=1e-30), 1 / self.chunks)
        rank = descending_rank((share * SHARE_GRID).round())  # of the share itself: rounded twice, ties would move
        quota = (snapped(share) * self.keep + NEARLY_WHOLE).floor()
        quota = quota + (rank < self.keep - quota.sum(-1, keepdim=True)).to(quota.dtype)
        size = self.is_token.sum(-1).to(quota.dtype)
        quota = torch.minimum(quota, size)
        room, surplus = size - quota, self.keep - quota.sum(-1, keepdim=True)
        served_before = torch.where(rank[:, None, :] < rank[:, :, None], room[:, None, :], 0.0).sum(-1)
        return quota + torch.minimum((surplus - served_before).clamp(min=0), room)
