"""PruneSID: tokens grouped by principal component, near-duplicates last in each group, a quota for every group.

1. The principal components over the tokens of sigmoid(features), each token less its own mean: floor(keep / 4) of them.
   A token's group is the component in which its loading is largest in size.
2. In each group, by CLS attention: a token is suppressed if its cosine to an unsuppressed one before it exceeds
   keep / 32 times the mean cosine of the image. Order: the unsuppressed, then the suppressed.
3. Quotas: one for each group, and the rest in proportion to the unsuppressed, by cumulative rounding; at most 5 *
   ceil(keep / 64) and no more than there are unsuppressed, a cap that is raised for all until the budget fits in.
   What the cap leaves goes to the groups with most unsuppressed.
4. Output: CLS, which counts, then group by group the first of each. `kept` is -1 for CLS. Not in spatial order.

Source: Fang et al., "Prune Redundancy, Preserve Essence: Vision Token Compression in VLMs via Synergistic Importance-
Diversity" (PruneSID, ICLR 2026); repository ZhengyaoFang/PruneSID.
Licence: Apache-2.0 by its README; there is no licence file.
Differs: the release calls a randomised decomposition without a seed: 10 to 39 % of its selection changes from run to
run. No runtime has a portable singular value decomposition either. Here: orthogonal iteration, `ITERATIONS` products
with the Gram matrix from a start drawn once (seed 0), Gram-Schmidt after each. It is deterministic; it is not the exact
decomposition, where components of nearly equal weight would need hundreds of products: like the release it finds the
span of the components better than each of them. What lies in the span of earlier columns to 1e-4 counts as zero. The
paper's budget by information content is not in the release, and not here.
Cost: one n x n product, 8 pairs of n x d x g products with Gram-Schmidt of g rounds after each (g = keep / 4), n rounds
of O(n) for the suppression; loops all.
Published: 96.3 % of the full model at 64 tokens (abstract).
Use it when: the parts of a picture are each to be represented, and the cost does not matter.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vtp_export.functional.greedy import rows_of
from vtp_export.functional.loop import repeat
from vtp_export.functional.merging import one_hot, rank_within
from vtp_export.functional.precision import at_least_float32
from vtp_export.functional.ranking import best, descending_rank
from vtp_export.functional.similarity import cosines, snapped
from vtp_export.functional.sizes import identity, static_size
from vtp_export.functional.tokens import Selection, Tokens
from vtp_export.pruners import base
from vtp_export.settings import at_least
from vtp_export.spec import Candidates

ITERATIONS = 8
DEPENDENT = 1e-4


@dataclass(frozen=True)
class Config(base.Config):
    """Settings of PruneSID.

    keep: how many tokens, CLS among them.
    """

    keep: int = at_least(64, 2, source=base.BUDGET)


def needs(config: Config) -> frozenset[str]:
    """What `forward` reads."""
    return frozenset({"saliency", "cls"})


class Pruner(base.Pruner):
    """Components, suppression, quotas."""

    start: Tensor
    """(n, g) where the iteration begins."""

    def __init__(self, config: Config, candidates: Candidates) -> None:
        super().__init__(config, candidates)
        self.method = base.Method(slots=self.keep, needs=needs(config), ascending=False, merges=True, by_place=True)
        self.groups = max(1, self.keep // 4)
        start = np.random.default_rng(0).standard_normal((candidates.n, self.groups))
        self.register_buffer("start", torch.from_numpy(start), persistent=False)

    def forward(self, tokens: Tokens) -> Selection:
        """Choose from `saliency` (b, n) and `hidden` (b, n, dv)."""
        assert tokens.saliency is not None
        hidden, saliency = at_least_float32(tokens.hidden), at_least_float32(tokens.saliency)
        n = static_size(saliency, -1)
        # sigmoid(-x) = 1 - sigmoid(x): the same components, with digits left where most features are large.
        sign = torch.where(hidden.mean((1, 2), keepdim=True) > 0, -1.0, 1.0)
        loading = self._components(_sigmoid(sign * hidden)).abs()
        group = best(snapped(loading).reshape(-1, self.groups)).reshape(-1, n)
        same = group[:, :, None] == group[:, None, :]
        rank = descending_rank(saliency)
        suppressed = self._suppressed(cosines(hidden), same, rank)
        turn = rank_within(-(suppressed * n + rank), same).long()
        member = one_hot(group, self.groups, saliency)  # (b, n, g)
        unsuppressed = ((1 - suppressed)[:, :, None] * member).sum(1).long()
        quota = _quotas(member.sum(1).long(), unsuppressed, self.keep)
        before = quota.float().cumsum(1).long() - quota  # in float, because TensorRT sums no whole numbers
        slot = torch.where(turn < quota.gather(1, group), 1 + before.gather(1, group) + turn, -1)
        picked = one_hot(slot, self.keep, saliency).transpose(1, 2)  # (b, k, n)
        place = torch.arange(n, device=slot.device) + 1
        with_cls = (picked * place).sum(-1).long()  # 0 is CLS, the first candidate of the mixture
        return Selection(with_cls - 1, one_hot(with_cls, n + 1, saliency))

    def _components(self, features: Tensor) -> Tensor:
        """Loadings (b, n, g) by orthogonal iteration."""
        centred = features - features.mean(-1, keepdim=True)
        column = torch.arange(self.groups, device=features.device)

        def orthogonalise(turn: Tensor | int, basis: Tensor) -> Tensor:
            mine = (column == turn).to(basis.dtype)[:, None]  # (g, 1)
            earlier = (column < turn).to(basis.dtype)[:, None]
            vector = basis @ mine
            length = vector.norm(dim=1, keepdim=True)
            for _ in range(2):  # twice is enough
                vector = vector - basis @ (earlier * (basis.transpose(1, 2) @ vector))
            left = vector.norm(dim=1, keepdim=True)
            vector = torch.where(left > DEPENDENT * length, vector / left.clamp(min=1e-30), 0.0)
            return basis * (1 - mine.transpose(0, 1)) + vector * mine.transpose(0, 1)

        basis = self.start.to(features.dtype).expand(features.shape[0], -1, -1)
        for _ in range(ITERATIONS):
            product = centred @ (centred.transpose(1, 2) @ basis)
            basis = repeat(orthogonalise, product, self.groups)
        return basis

    def _suppressed(self, cosine: Tensor, same: Tensor, rank: Tensor) -> Tensor:
        """1 where a token is suppressed, (b, n), in the dtype of `rank`."""
        n = static_size(rank, -1)
        itself = identity(n, rank) > 0
        mean = torch.where(itself, 0.0, cosine).sum((1, 2)) / max(n * (n - 1), 1)
        near = same & (cosine > (self.keep / 32 * mean)[:, None, None])
        rows = rows_of((near & (rank[:, None] > rank[:, :, None])).to(rank.dtype))  # of each, those that come later

        def step(turn: Tensor | int, suppressed: Tensor) -> Tensor:
            now = (rank == turn).to(rank.dtype)
            standing = 1 - (now * suppressed).sum(1, keepdim=True)
            return torch.maximum(suppressed, standing * rows(now.argmax(1)))

        return repeat(step, torch.zeros_like(rank), n)


def _sigmoid(values: Tensor) -> Tensor:
    """The sigmoid, from an exponential: the operator of ONNX Runtime's CPU stands still below -18."""
    small = (-values.abs()).exp()
    return torch.where(values < 0, small, 1.0) / (1 + small)


def _quotas(size: Tensor, unsuppressed: Tensor, keep: int) -> Tensor:
    """How many tokens each group gives, (b, g) int64 that sum to keep - 1.

    Args:
        size: (b, g) int64 tokens of each group.
        unsuppressed: (b, g) int64.
        keep: the budget, CLS among it.
    """
    least = size.clamp(max=1)
    most = torch.minimum(unsuppressed, size).clamp(max=5 * math.ceil(keep / 64))
    # Raised by as little as makes the budget fit in; tried for every raise at once.
    raised = torch.arange(keep + 1, device=size.device)[:, None]
    fits = torch.minimum(most[:, None] + raised, size[:, None]).sum(-1) >= keep  # (b, raises)
    most = torch.minimum(most + (~fits).sum(-1, keepdim=True), size)
    other = (keep - 1 - least.sum(1, keepdim=True)).clamp(min=0)
    total, running = unsuppressed.sum(1, keepdim=True), unsuppressed.float().cumsum(1).long()
    upto = (2 * other * running + total) // (2 * total)  # to the nearest, exactly
    share = torch.cat([upto[:, :1], upto[:, 1:] - upto[:, :-1]], dim=1)
    quota = torch.minimum(least + share, most)
    rank = descending_rank(unsuppressed.float())
    room, deficit = most - quota, keep - 1 - quota.sum(1, keepdim=True)
    served_before = torch.where(rank[:, None, :] < rank[:, :, None], room[:, None, :], 0).sum(-1)
    return quota + torch.minimum((deficit - served_before).clamp(min=0), room)
