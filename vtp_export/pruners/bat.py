"""BAT: similar attended tokens merged, the others clustered by density peaks. From the paper alone: there is no code.

The rows "BAT" in AgilePruner's Tables 5 and 7 come from a port that is not public: no equality with either is claimed.
With ratio=adaptive or inverse the hybrid of Table 5, see `pruners/_mixing.py`. Features are those before the projector.

1. The first floor(spread * m) tokens by CLS attention are attentive, where m = floor(keep * ratio) are to come of
   them. The most similar pair (cosine of the merged tokens) is merged, attention-weighted, until m are left.
2. Of the others, keep - m become centres: those of largest density * distance to the nearest denser token (for the
   densest, to the farthest). Density is exp(-mean |u_i - u_j|^2) over the tokens at unit length.
3. Each of the others joins the centre of highest cosine; a cluster is its attention-weighted mean.

Source: Long et al., "Beyond Attentive Tokens: Incorporating Token Importance and Diversity for Efficient Vision
Transformers" (CVPR 2023), a method for ImageNet classifiers; the repository BWLONG/BeyondAttentiveTokens holds no code.
Licence: none of code; the README of the empty repository says Apache-2.0.
Differs: where the paper is silent, or what is known of it does not work here: how many tokens are attentive (`spread`);
unit length, and the mean for the sum, without which the density of every token of 1024 channels is 0; weights of at
least 1e-9; equally dense: the earlier counts as denser. CLS is dropped. Output in spatial order of the anchors: the
most attended of a merged group, the centre of a cluster.
Cost: two n x n products, comparisons of n x n pairs, then (spread - 1) m rounds of O(spread^2 m^2) in one loop, for m
attentive tokens.
Published: rows of AgilePruner's Tables 5 and 7, from a port that is not public: not comparable.
Use it when: the hybrids of that paper are to be repeated; no code of the authors confirms it.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from vtp_export.functional.loop import repeat
from vtp_export.functional.merging import mixture, nearest_chosen
from vtp_export.functional.precision import at_least_float32
from vtp_export.functional.ranking import best, descending_rank, positions
from vtp_export.functional.similarity import cosines, snapped
from vtp_export.functional.sizes import earlier, identity, static_size
from vtp_export.functional.tokens import Selection, Tokens
from vtp_export.pruners import base
from vtp_export.pruners._mixing import MixConfig, attention_count
from vtp_export.settings import at_least
from vtp_export.spec import Candidates

LIGHTEST = 1e-9


@dataclass(frozen=True)
class Config(MixConfig):
    """Settings of BAT: those of a hybrid, see `MixConfig`, and one more.

    spread: attentive tokens, as a multiple of those that are left of them.
    """

    spread: float = at_least(1.5, 1, source="this package: the paper is silent")


def needs(config: Config) -> frozenset[str]:
    """What `forward` reads."""
    return frozenset({"saliency"}) | config.reads


class Pruner(base.Pruner):
    """Pairs, peaks, mixture."""

    attentive: Tensor
    """(m + 1,) how many tokens are attentive, by how many are to come of them."""

    def __init__(self, config: Config, candidates: Candidates) -> None:
        super().__init__(config, candidates)
        self.method = base.Method(slots=self.keep, needs=needs(config), measures=config.measures, merges=True)
        most = config.counts(self.keep)[-1]
        # No more attentive tokens than leave one for every centre.
        attentive = [min(math.floor(m * config.spread), candidates.n - self.keep + m) for m in range(most + 1)]
        self.register_buffer("attentive", torch.tensor(attentive), persistent=False)
        self.widest = attentive[-1]
        self.rounds = max(wide - m for m, wide in enumerate(attentive))

    def forward(self, tokens: Tokens) -> Selection:
        """Choose from `saliency` (b, n), merge `hidden` (b, n, dv)."""
        assert tokens.saliency is not None
        saliency, hidden = at_least_float32(tokens.saliency), at_least_float32(tokens.hidden)
        count, complexity = attention_count(self.config, self.keep, tokens)
        rank, weight = descending_rank(saliency), saliency.clamp(min=LIGHTEST)
        attentive = rank < self.attentive.index_select(0, count)[:, None]
        cosine = cosines(hidden)
        label = torch.arange(static_size(saliency, -1), device=rank.device).expand_as(rank)
        if self.rounds:
            label = self._paired(hidden * weight[:, :, None], attentive, rank, count)
        centre = _peaks(cosine, ~attentive, self.keep - count)
        joined = torch.where(centre.any(1, keepdim=True), nearest_chosen(cosine, centre), -1)  # -1: to no cluster
        label = torch.where(attentive, label, joined)
        place = torch.arange(static_size(saliency, -1), device=rank.device)
        kept = positions((attentive & (label == place)) | centre, self.keep)
        return Selection(
            kept,
            mixture(label, kept, weight),
            **dict.fromkeys(self.method.measures, complexity),
        )

    def _paired(self, weighted: Tensor, attentive: Tensor, rank: Tensor, count: Tensor) -> Tensor:
        """The anchor of each attentive token, (b, n) int64, after merging down to `count` (b,)."""
        widest = self.widest
        order = (static_size(rank, -1) - rank).topk(widest, dim=-1).indices  # (b, a), unique keys
        size = static_size(weighted, -1)
        sums = weighted.gather(1, order[:, :, None].expand(-1, -1, size))
        slot = torch.arange(widest, device=rank.device, dtype=weighted.dtype)
        merges = attentive.sum(-1) - count
        usable = slot < attentive.sum(-1, keepdim=True)  # (b, a)
        upper, eye = slot[:, None] < slot, identity(widest, weighted)

        def step(turn: Tensor | int, state: Tensor) -> Tensor:
            gram, anchor = state[:, :widest], state[:, widest]
            alive = usable & (anchor == slot)
            length = (gram * eye).sum(-1).clamp(min=0).sqrt()
            cosine = snapped(gram / (length[:, :, None] * length[:, None, :]).clamp(min=1e-30))
            pair = alive[:, :, None] & alive[:, None, :] & upper
            flat = best(torch.where(pair, cosine, -4.0).reshape(-1, widest * widest))
            into, gone = flat // widest, flat % widest
            row = gram.gather(1, gone[:, None, None].expand(-1, 1, widest))
            grown = gram + (slot == into[:, None])[:, :, None] * row
            column = grown.gather(2, gone[:, None, None].expand(-1, widest, 1))
            grown = grown + column * (slot == into[:, None])[:, None]
            moved = torch.where(anchor == gone[:, None], into[:, None].to(anchor.dtype), anchor)
            after = torch.cat([grown, moved[:, None]], dim=1)
            return torch.where((turn < merges)[:, None, None], after, state)

        gram = sums @ sums.transpose(1, 2)
        start = torch.cat([gram, slot.expand_as(gram[:, :1])], dim=1)
        anchor = repeat(step, start, self.rounds)[:, widest].long()
        return order.gather(1, anchor.gather(1, rank.long().clamp(max=widest - 1)))


def _peaks(cosine: Tensor, among: Tensor, wanted: Tensor) -> Tensor:
    """So many (b,) density peaks of the tokens `among` (b, n), as (b, n) bool."""
    n = static_size(cosine, -1)
    apart = 2 - 2 * cosine  # squared distance of unit vectors
    pair = among[:, None, :]
    sparsity = torch.where(pair, apart, 0.0).sum(-1) / among.sum(-1, keepdim=True).clamp(min=1)
    mine, other = sparsity[:, :, None], sparsity[:, None, :]
    denser = ((other < mine) | ((other == mine) & earlier(n, cosine))) & pair
    nearest = torch.where(denser, apart, 8.0).amin(-1)
    farthest = torch.where(pair, apart, 0.0).amax(-1)
    separation = torch.where(denser.any(-1), nearest, farthest)
    score = snapped((-2 * sparsity).exp() * separation)  # squared, which orders alike
    return (descending_rank(torch.where(among, score, -1.0)) < wanted[:, None]) & among
