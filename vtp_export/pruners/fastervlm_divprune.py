"""FasterVLM with DivPrune: part of the budget by attention, the rest by distance from what is kept already.

The floor(keep * ratio) most attended tokens, as FasterVLM takes them; then DivPrune's recursion goes on from these:
each time the token whose nearest kept one is farthest, by cosine distance of the projected features. Where attention
takes none, the first is the token whose nearest neighbour is farthest, so that ratio=0 is `divprune` and ratio=1
`fastervlm`. The ratio: see `pruners/_mixing.py`.

Ties go to the lowest position. CLS is dropped, output in spatial order.

Source: AgilePruner (ICLR 2026), section 4.3 and Table 6, "Divprune + FasterVLM" with a fixed and an adaptive ratio.
Licence: FasterVLM (Theia-4869/FasterVLM) is Apache-2.0, DivPrune (vbdi/divprune) CC BY-NC 4.0: its rule is followed
here, none of its code.
Differs: no code of it was released, and the paper does not say how the two are joined: that is ours.
Cost: one n x n product, for an adaptive ratio by erank that of `adaptive` too, then k rounds of O(n) in one loop.
Published: AgilePruner's Table 6, of a mixture whose recipe is not public: not comparable.
Use it when: both ends are wanted side by side: ratio=1 is `fastervlm`, ratio=0 `divprune`, ratio=inverse the control.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from vtp_export.functional.greedy import TAKEN, rows_of
from vtp_export.functional.loop import repeat
from vtp_export.functional.precision import at_least_float32
from vtp_export.functional.ranking import best, descending_rank, positions
from vtp_export.functional.similarity import cosines
from vtp_export.functional.sizes import static_size
from vtp_export.functional.tokens import Selection, Tokens
from vtp_export.pruners import base
from vtp_export.pruners._mixing import MixConfig, attention_count
from vtp_export.spec import Candidates

FAR = 4.0
"""Above every cosine distance."""


@dataclass(frozen=True)
class Config(MixConfig):
    """Settings of the pair: those of a hybrid, see `MixConfig`."""


def needs(config: Config) -> frozenset[str]:
    """What `forward` reads."""
    return frozenset({"projected", "saliency"})


class Pruner(base.Pruner):
    """Attention, then the farthest."""

    def __init__(self, config: Config, candidates: Candidates) -> None:
        super().__init__(config, candidates)
        self.method = base.Method(slots=self.keep, needs=needs(config), measures=config.measures, stage="projected")
        self.rounds = self.keep - config.counts(self.keep)[0]

    def forward(self, tokens: Tokens) -> Selection:
        """Choose from `saliency` (b, n) and `projected` (b, n, d)."""
        assert tokens.saliency is not None and tokens.projected is not None
        count, complexity = attention_count(self.config, self.keep, tokens)
        chosen = descending_rank(at_least_float32(tokens.saliency)) < count[:, None]
        if self.rounds:
            distance = 1 - cosines(at_least_float32(tokens.projected))
            chosen = self._farthest(distance, chosen, self.keep - count)
        return Selection(
            positions(chosen, self.keep),
            **dict.fromkeys(self.method.measures, complexity),
        )

    def _farthest(self, distance: Tensor, chosen: Tensor, wanted: Tensor) -> Tensor:
        """`chosen` (b, n) with so many (b,) more of the tokens farthest from it."""
        n, rows = static_size(distance, -1), rows_of(distance)
        place = torch.arange(n, device=distance.device)
        none_yet = ~chosen.any(1, keepdim=True)
        isolation = torch.where(place[:, None] == place, FAR, distance).amin(-1)
        nearest = torch.where(chosen[:, None, :], distance, FAR).amin(-1)
        nearest = torch.where(none_yet, isolation, torch.where(chosen, TAKEN, nearest))

        def step(turn: Tensor | int, nearest: Tensor) -> Tensor:
            pick = best(nearest)
            starting = none_yet & (nearest > TAKEN).all(1, keepdim=True)  # isolation is no distance to a kept token
            after = torch.minimum(torch.where(starting, FAR, nearest), rows(pick))
            after = torch.where((place == pick[:, None]) | (nearest == TAKEN), TAKEN, after)
            return torch.where((turn < wanted)[:, None], after, nearest)

        return repeat(step, nearest, self.rounds) == TAKEN
