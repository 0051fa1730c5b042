"""DivPrune: the k tokens that are farthest apart, by cosine distance of the projected features.

Max-min diversity by greedy farthest-point choice: first the token whose nearest neighbour is farthest, then each time
the token whose nearest chosen token is farthest.

CLS takes no part and is dropped. Output in spatial order.

Source: Alvar et al., "DivPrune: Diversity-based Visual Token Pruning for Large Multimodal Models" (CVPR 2025);
repository vbdi/divprune.
Licence: CC BY-NC 4.0: its rules are followed here, none of its code.
Differs: paper and release agree. The release leaves chosen tokens in the race (they can win again only when nothing but
duplicates is left), has no rule for zero tokens (here at distance 1 from all), and runs in float16.
Cost: one n x n product, then k rounds of O(n) in one loop.
Published: 97.25 / 95.02 / 92.16 at 128 / 64 / 32 tokens (% of the full model, LLaVA-1.5-7B, mean of nine benchmarks,
AgilePruner's Table 7); 97.3 / 95.0 / 91.9 % in MFPruner's. CHAIR at 64 tokens: sentences 57.4, instances 18.0, recall
76.4. Qwen2.5-VL-7B, 25 % / 10 % kept (AngelSlim's documentation): 89.26 / 76.09 %.
Use it when: the answer may lie anywhere in the picture (text, counting). Attention is not looked at, and hallucination
is more frequent than with attention-based choice.
"""

from dataclasses import dataclass

from torch import Tensor

from vtp_export.functional.greedy import farthest_first, rows_of
from vtp_export.functional.precision import at_least_float32
from vtp_export.functional.ranking import best, positions
from vtp_export.functional.similarity import cosines
from vtp_export.functional.sizes import identity, static_size
from vtp_export.functional.tokens import Selection, Tokens
from vtp_export.pruners import base
from vtp_export.spec import Candidates


@dataclass(frozen=True)
class Config(base.Config):
    """Settings of DivPrune: the budget alone."""


def needs(config: Config) -> frozenset[str]:
    """What `forward` reads."""
    return frozenset({"projected"})


class Pruner(base.Pruner):
    """Max-min distance from the most isolated token on."""

    def __init__(self, config: Config, candidates: Candidates) -> None:
        super().__init__(config, candidates)
        self.method = base.Method(slots=self.keep, needs=needs(config), stage="projected")

    def forward(self, tokens: Tokens) -> Selection:
        """Choose from `projected` (b, n, d)."""
        assert tokens.projected is not None
        distance = 1 - cosines(at_least_float32(tokens.projected))
        chosen = farthest_first(best(_isolation(distance)), rows_of(distance), self.keep)
        return Selection(positions(chosen, self.keep))


def _isolation(distance: Tensor) -> Tensor:
    """Distance of each token to its nearest other, (b, n); no distance reaches 4, so a token is never its own."""
    itself = identity(static_size(distance, -1), distance)
    return (distance + 4 * itself).amin(-1)
