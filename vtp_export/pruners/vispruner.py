"""VisPruner: the most attended tokens, and of the rest those that are left when near-duplicates are dropped.

With ratio=adaptive or inverse the hybrid of AgilePruner's Table 5, see `pruners/_mixing.py`.

1. The first floor(keep * ratio) tokens by CLS attention are kept. The others form a list in order of attention.
2. Until the list has the wanted length: A is its even, B its odd places. Each of A is scored by its largest cosine (of
   the features before the projector) to one of B; the (at most) 8 highest are dropped. The list becomes the rest of
   A by descending score, followed by B as it was.

Chaotic: rounding that swaps two neighbours of the list flips even and odd for all later rounds. The release in float32
agrees with itself in float64 on 53 to 100 % of the tokens. Here float64 equals the reference token by token; in float32
only statistics can be compared, and validation says so.

Source: Zhang et al., "Beyond Text-Visual Attention: Exploiting Visual Cues for Effective Token Pruning in VLMs"
(VisPruner, ICCV 2025); repository Theia-4869/VisPruner.
Licence: Apache-2.0.
Differs: followed as released, but for its crashes: with an odd list A has one more than B (the release fails), and no
more are dropped than A has. Ties go to the earlier place. CLS is dropped, output in spatial order.
Cost: one n x n product, then about (n - keep) / 8 rounds of O(n^2) in one loop.
Published: 98.01 / 95.07 / 90.75 at 128 / 64 / 32 tokens (% of the full model, LLaVA-1.5-7B, mean of nine benchmarks,
AgilePruner's Table 7). Qwen2.5-VL-7B, 25 % / 10 % kept (AngelSlim's documentation): 88.31 / 72.60 %.
Use it when: published figures are to be compared with; not where two runtimes must keep the same tokens.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from vtp_export.functional.loop import repeat
from vtp_export.functional.precision import at_least_float32
from vtp_export.functional.ranking import descending_rank, positions
from vtp_export.functional.similarity import cosines
from vtp_export.functional.sizes import static_size
from vtp_export.functional.tokens import Selection, Tokens
from vtp_export.pruners import base
from vtp_export.pruners._mixing import MixConfig, attention_count
from vtp_export.spec import Candidates

DROPPED_A_ROUND = 8


@dataclass(frozen=True)
class Config(MixConfig):
    """Settings of VisPruner: those of a hybrid, see `MixConfig`."""


def needs(config: Config) -> frozenset[str]:
    """What `forward` reads."""
    return frozenset({"saliency"}) | config.reads


class Pruner(base.Pruner):
    """Attention, then rounds of dropping duplicates."""

    def __init__(self, config: Config, candidates: Candidates) -> None:
        super().__init__(config, candidates)
        self.method = base.Method(
            slots=self.keep, needs=needs(config), measures=config.measures, stage=config.stage, chaotic=True
        )
        counts = config.counts(self.keep)
        self.longest = candidates.n - counts[0]
        self.rounds = max(rounds_of(candidates.n - count, self.keep - count) for count in counts)

    def forward(self, tokens: Tokens) -> Selection:
        """Choose from `saliency` (b, n) and `hidden` (b, n, dv)."""
        assert tokens.saliency is not None
        saliency = at_least_float32(tokens.saliency)
        count, complexity = attention_count(self.config, self.keep, tokens)
        n = static_size(saliency, -1)
        rank = descending_rank(saliency)
        order = (n - rank).topk(n, dim=-1).indices  # (b, n), unique keys
        place = torch.arange(self.longest, device=order.device)
        residual = order.gather(1, (count[:, None] + place).clamp(max=n - 1))  # places past the end repeat the last
        wanted = self.keep - count
        if self.rounds:
            cosine = cosines(at_least_float32(tokens.hidden))
            state = torch.cat([residual, (n - count)[:, None]], dim=1)
            residual = repeat(_Round(cosine, wanted, self.longest), state, self.rounds)[:, :-1]
        left = (residual[:, :, None] == torch.arange(n, device=order.device)) & (place < wanted[:, None])[:, :, None]
        kept = positions((rank < count[:, None]) | left.any(1), self.keep)
        return Selection(
            kept,
            **dict.fromkeys(self.method.measures, complexity),
        )


def rounds_of(length: int, wanted: int) -> int:
    """Rounds until a list of that length is down to what is wanted."""
    rounds = 0
    while length > wanted > 0:
        length -= min(DROPPED_A_ROUND, length - wanted, (length + 1) // 2)
        rounds += 1
    return rounds


class _Round:
    """One round on a state (b, l + 1): the list, and in the last column how many of its places are in use."""

    def __init__(self, cosine: Tensor, wanted: Tensor, longest: int) -> None:
        # All sizes are settled here: inside a loop that is being exported, no warning can be silenced.
        n = static_size(cosine, -1)
        self.n, self.evens, self.odds = n, (longest + 1) // 2, longest // 2
        self.rows = cosine.reshape(-1, n)
        self.offset = (torch.arange(cosine.shape[0], device=cosine.device) * n)[:, None]
        self.wanted = wanted

    def __call__(self, turn: Tensor | int, state: Tensor) -> Tensor:
        """The next state."""
        full, length = state[:, :-1], state[:, -1:]
        even, odd = full[:, 0::2], full[:, 1::2]
        place_even = torch.arange(self.evens, device=state.device)
        place_odd = torch.arange(self.odds, device=state.device)
        evens = (length + 1) // 2
        dropped = torch.minimum(length - self.wanted[:, None], evens).clamp(min=0).clamp(max=DROPPED_A_ROUND)
        rank = descending_rank(torch.where(place_even < evens, self._score(even, odd, length // 2), -8.0)).long()
        # Every entry gets a place of its own: survivors first, then what is dropped, then what was out of use.
        to_even = torch.where(rank < dropped, length - dropped + rank, rank - dropped)
        to_even = torch.where(place_even < evens, to_even, 2 * place_even)
        to_odd = torch.where(place_odd < length // 2, evens - dropped + place_odd, 2 * place_odd + 1)
        target = torch.cat([to_even, to_odd], dim=1)
        moved = torch.zeros_like(full).scatter(1, target, torch.cat([even, odd], dim=1))
        return torch.cat([torch.where(dropped > 0, moved, full), length - dropped], dim=1)

    def _score(self, even: Tensor, odd: Tensor, odds: Tensor) -> Tensor:
        """Largest cosine of each of A to one of B."""
        row = self.rows.index_select(0, (even + self.offset).reshape(-1)).reshape(-1, self.evens, self.n)
        cosine = row.gather(2, odd[:, None, :].expand(-1, self.evens, -1))
        place = torch.arange(self.odds, device=odd.device)
        return torch.where((place < odds)[:, None, :], cosine, -4.0).amax(-1)
