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

from vtp_export.functional.precision import at_least_float32
from vtp_export.functional.ranking import descending_rank, positions
from vtp_export.functional.similarity import snapped, unit_tokens
from vtp_export.functional.sizes import static_size
from vtp_export.functional.tokens import Selection, Tokens
from vtp_export.pruners import base
from vtp_export.settings import at_least
from vtp_export.spec import Candidates

TAKEN = -4.0
"""Below every negated cosine."""


@dataclass(frozen=True)
class Config(base.Config):
    """Settings of DART.

    keep: how many tokens, pivots among them.
    pivots: how many pivots; at most `keep` are used.
    """

    pivots: int = at_least(4, 1, source="NVIDIA's variant: 4 of the image")


def needs(config: Config) -> frozenset[str]:
    """What `forward` reads."""
    return frozenset({"projected"})


class Pruner(base.Pruner):
    """Least duplication of the pivots."""

    def __init__(self, config: Config, candidates: Candidates) -> None:
        super().__init__(config, candidates)
        self.method = base.Method(slots=self.keep, needs=needs(config), stage="projected")
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
