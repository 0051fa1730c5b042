"""DART at the embedding level: a few pivots of large norm, then the tokens least like each of them.

The `pivots` tokens of largest L1 norm are kept. Pivot p of P, in descending order of norm, then takes ceil(remaining /
(P - p)) tokens, those of lowest cosine to it that are left. Ties go to the lowest position, as there.

CLS takes no part and is dropped. Output in spatial order.

Source: Wen et al., "Stop Looking for Important Tokens in Multimodal Language Models: Duplication Matters More" (DART,
EMNLP 2025); repository ZichenWen1/DART. The variant on input embeddings: NVIDIA's TensorRT-Edge-LLM.
Licence: Apache-2.0, both.
Differs: the paper prunes inside the language model, by its keys. Followed here is NVIDIA's variant on embeddings, with
image pivots only, as it does when told to use no text pivots; text is not there yet in a vision front end.
Cost: for each of P pivots, one product of a token with all others and one order; no n x n similarities. The graph grows
with P, not with k.
Published: none for this variant.
Use it when: no attention can be had, and speed counts most: P rounds, whatever k is.
"""

from dataclasses import dataclass

import torch
from torch import nn

from vtp_export.errors import SpecError
from vtp_export.functional.greedy import snapped, unit_tokens
from vtp_export.functional.precision import at_least_float32
from vtp_export.functional.ranking import descending_rank, positions
from vtp_export.functional.sizes import static_size
from vtp_export.functional.tokens import Selection, Tokens
from vtp_export.pruners.base import check_keep
from vtp_export.spec import Candidates

NEEDS = ("projected",)
STAGE = "projected"

TAKEN = -4.0
"""Below every negated cosine."""


@dataclass(frozen=True)
class Config:
    """Settings of DART.

    keep: how many tokens, pivots among them.
    pivots: how many pivots; at most `keep` are used.
    """

    keep: int = 64
    pivots: int = 4

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        if self.pivots < 1:
            raise SpecError(f"setting pivots is {self.pivots}; it must be at least 1")


class Pruner(nn.Module):
    """Least duplication of the pivots."""

    measures: tuple[str, ...] = ()

    def __init__(self, config: Config, candidates: Candidates) -> None:
        super().__init__()
        self.keep = check_keep(config.keep, candidates)
        self.pivots = min(config.pivots, self.keep)

    def forward(self, tokens: Tokens) -> Selection:
        """Choose from `projected` (b, n, d)."""
        assert tokens.projected is not None
        features = at_least_float32(tokens.projected)
        rank = descending_rank(features.abs().sum(-1))
        pivots = (-rank).topk(self.pivots, dim=-1).indices  # (b, P), in order of rank
        unit = unit_tokens(features)
        chosen_unit = unit.gather(1, pivots[:, :, None].expand(-1, -1, static_size(unit, -1)))
        similarity = snapped(chosen_unit @ unit.transpose(-1, -2))  # (b, P, n)
        taken, remaining = rank < self.pivots, self.keep - self.pivots
        for pivot in range(self.pivots):
            share = -(-remaining // (self.pivots - pivot))
            unlike = torch.where(taken, TAKEN, -similarity[:, pivot])
            taken = taken | (descending_rank(unlike) < share)
            remaining -= share
        return Selection(positions(taken, self.keep))
