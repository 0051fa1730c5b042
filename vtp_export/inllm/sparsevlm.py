"""SparseVLM: at three layers, the image tokens that the telling words of the question attend to; the rest recycled.

Raters are chosen once, from the input embeddings: softmax over the text behind the picture of its products with the
image tokens, mean over these, and the words above the mean of that. Behind the 3rd, 7th and 16th layer the image tokens
with most attention of the raters stay, in the order of the picture. In version 1 the best third of what goes is
clustered by density peaks, the means of clusters follow the tokens that stay, and positions are counted anew. In
version 2 ("SparseVLM+") nothing is recycled, positions stay, attention is divided by what rotary positions give to
tokens at that distance, and the 14 heads that look at the picture most are asked alone.

Source: Zhang et al., "SparseVLM: Visual Token Sparsification for Efficient Vision-Language Model Inference" (ICML
2025); repository Gumpest/SparseVLMs.
Licence: Apache-2.0.
Differs: the paper derives the counts from the rank of the attention, the release has lists for 192, 128, 96 and 64
tokens. It books for a layer what is left behind it, so that layers read more than the name says: 206.5, 145.4, 114.1
and 82.3 in version 1. Here the budget is what layers read: the nearest list is scaled to it; `lists=released` takes a
list as it is. The release breaks ties of densities by random numbers below 1e-6; here they fall with the place, one
draw that it could have made. Softmax is in float32 at least.
Cost: rows of attention in three layers; in version 1 distances among a third of what goes.
Published: 96.61 / 88.60 % at 128 / 64 tokens (as for fastv).
Use it when: what you compare with prunes by the question's words, step by step, and merges.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vtp_export.errors import SpecError
from vtp_export.functional.precision import at_least_float32
from vtp_export.inllm import base
from vtp_export.inllm._attention import Attention, Rotation, order
from vtp_export.inllm._budgets import Cut, Cuts, nearest
from vtp_export.inllm._cutting import Cutting
from vtp_export.inllm._density import cluster_means
from vtp_export.inllm._depths import DEPTHS, after, asked_depths, matched, numbers
from vtp_export.settings import at_least, one_of

STAGES = (3, 7, 16)
FULL = 576
"""Image tokens that the lists are for."""
LISTS = {
    "v1": {192: (300, 200, 110), 128: (303, 110, 36), 96: (238, 48, 26), 64: (66, 30, 17)},
    "v2": {192: (300, 200, 118), 128: (238, 108, 60), 96: (246, 54, 28), 64: (66, 34, 20)},
}


@dataclass(frozen=True, kw_only=True)
class Config(base.Config):
    """Settings of SparseVLM.

    version: v1 recycles and counts positions anew, v2 corrects attention and asks the best heads.
    lists: fitted scales the nearest list to the budget, released takes that of the same name as it is.
    after: after how many layers to cut; 3/7/16 where it is left out.
    counts: tokens that stay at each cut, in place of the budget.
    best_heads: of version 2, how many heads are asked; a decoder must have as many.
    """

    version: str = one_of("v1", "v1", "v2", source="the release")
    lists: str = one_of("fitted", "fitted", "released", source="budgets that compare")
    after: str | None = after(DEPTHS)
    counts: str | None = numbers(
        "whole numbers from 1, such as 300/200/110",
        lambda counts: all(count == int(count) >= 1 for count in counts),
        "the budget",
    )
    best_heads: int = at_least(14, 1, source="the release")

    @property
    def fixed(self) -> bool:
        """Whether the counts are given."""
        return self.counts is not None


class Method(Cutting):
    """Three cuts, each ranked by the layer before it."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.merges = self.renumbers = config.version == "v1"
        self.heads = 1 if self.merges else config.best_heads

    def _cuts(self, n: int, layers: int) -> Cuts:
        places = asked_depths(self.config.after, STAGES, layers, most=3)
        if self.config.counts is not None:
            return self._chain(n, places, [int(count) for count in matched("counts", self.config.counts, places)])
        lists, share = LISTS[self.config.version], self.config.keep * FULL / n
        if self.config.lists == "released":
            named = next((name for name in lists if round(name * n / FULL) == self.config.keep), None)
            if named is None:
                raise SpecError(_unreleased(self.config.keep, n))
            return self._chain(n, places, [max(1, round(count * n / FULL)) for count in lists[named]][: len(places)])
        published = lists[min(lists, key=lambda name: abs(name - share))][: len(places)]

        def plan(first: int) -> Cuts:
            return self._chain(n, places, [max(1, round(first * count / published[0])) for count in published])

        return nearest(self.config.keep, n, layers, plan, math.ceil(n * published[0] / published[-1]))

    def _chain(self, n: int, places: Sequence[int], counts: Sequence[int]) -> Cuts:
        """The cuts of counts: at least one token goes at each, and merged tokens are counted with the others."""
        cuts, now = list[Cut](), n
        for place, count in zip(places, counts, strict=True):
            keep = max(1, min(count, now - 1))
            merged = clusters_of(candidates_of(now - keep)) if self.merges and now > keep else 0
            cuts.append(Cut(before=place, ranks=place - 1, keep=keep, merged=merged))
            now = keep + merged
        return tuple(cuts)

    def booked_tokens(self, n: int, layers: int) -> list[int]:
        """As the release counts: of a layer that ranks, what is left behind it."""
        tokens = self.layer_tokens(n, layers)
        return [*tokens[1:], tokens[-1]]

    def raters(self, visual: Tensor, text: Tensor) -> Tensor:
        """Words that more than the mean of the attention goes to."""
        share = rater_scores(visual, text)
        return torch.nonzero(share > share.mean())[:, 0]

    def scores(self, attention: Attention) -> Tensor:
        """(visual,): in version 2 of the best heads, after correction."""
        if self.merges:
            return super().scores(attention)
        weights = attention.weights / _gravity(attention.raters, attention.visual)
        best = order(weights.sum((1, 2)))[: self.heads]
        return weights[best].mean(0).mean(0)

    def merge(self, states: Tensor, scores: Tensor, count: int) -> Tensor:
        """(count, d): means of clusters of the best of those that do not stay."""
        if not count:
            return states[:0]
        best = order(scores)[: candidates_of(len(scores))]
        return cluster_means(states[best], count)


def rater_scores(visual: Tensor, text: Tensor) -> Tensor:
    """(t,) what each word gets of the image tokens' attention; its sum is 1."""
    products = at_least_float32(visual) @ at_least_float32(text).T
    return products.softmax(-1).mean(0)


def candidates_of(pruned: int) -> int:
    """How many of the pruned tokens are recycled."""
    return int(pruned * 0.3) + 1


def clusters_of(candidates: int) -> int:
    """Into how many tokens they are merged."""
    return candidates // 10 + 1


def _gravity(raters: Rotation, visual: Rotation) -> Tensor:
    """(raters, visual): the product of two vectors of ones at their rotary positions, over the root of their length."""
    cos, sin, other_cos, other_sin = (at_least_float32(part) for part in (*raters, *visual))
    return (cos @ other_cos.T + sin @ other_sin.T) / math.sqrt(cos.shape[-1])


def _unreleased(keep: int, n: int) -> str:
    named = ", ".join(str(round(name * n / FULL)) for name in LISTS["v1"])
    return f"no list was released for a budget of {keep} of {n} tokens; with lists=released it must be one of: {named}"
