"""DivPrune: the k tokens that are farthest apart, by cosine distance of the projected features.

Source: Alvar et al., "DivPrune: Diversity-based Visual Token Pruning for Large Multimodal Models" (CVPR 2025);
repository vbdi/divprune (CC BY-NC 4.0: its rules are followed here, none of its code).

Max-min diversity by greedy farthest-point choice: first the token whose nearest neighbour is farthest, then each time
the token whose nearest chosen token is farthest. Paper and release agree. Differences from the release: it leaves
chosen tokens in the race (they can win again only when nothing but duplicates is left), has no rule for zero tokens
(here at distance 1 from all), and runs in float16.

CLS takes no part and is dropped. Output in spatial order. Use it where the answer may lie anywhere in the picture
(text, counting); attention is not looked at, and hallucination is more frequent than with attention-based choice.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vtp_export.functional.greedy import best, cosines, farthest_first, rows_of
from vtp_export.functional.precision import at_least_float32
from vtp_export.functional.ranking import positions
from vtp_export.functional.sizes import static_size
from vtp_export.functional.tokens import Selection, Tokens
from vtp_export.pruners.base import check_keep

NEEDS = ("projected",)
STAGE = "projected"


@dataclass(frozen=True)
class Config:
    """keep: how many tokens."""

    keep: int = 64


class Pruner(nn.Module):
    """Max-min distance from the most isolated token on."""

    measures: tuple[str, ...] = ()
    loop = True  # False for targets without a loop operator: the rounds unroll

    def __init__(self, config: Config, n_tokens: int) -> None:
        super().__init__()
        self.keep = check_keep(config.keep, n_tokens)

    def forward(self, tokens: Tokens) -> Selection:
        """Choose from `projected` (b, n, d)."""
        assert tokens.projected is not None
        distance = 1 - cosines(at_least_float32(tokens.projected))
        chosen = farthest_first(best(_isolation(distance)), rows_of(distance), self.keep, self.loop)
        return Selection(positions(chosen, self.keep))


def _isolation(distance: Tensor) -> Tensor:
    """Distance of each token to its nearest other, (b, n); no distance reaches 4, so a token is never its own."""
    itself = torch.eye(static_size(distance, -1), dtype=distance.dtype, device=distance.device)
    return (distance + 4 * itself).amin(-1)
