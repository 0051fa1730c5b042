"""PyramidDrop: in stages, ever fewer image tokens, those that the last token of the prompt attends to most.

Before the first layer of each stage: that layer's own norm, queries and keys on what has not been dropped yet, softmax
of the last token's row over all tokens, mean over heads; the largest stay, in the order of the picture. Then all are
counted anew, and so are decoded tokens, by the length of each layer's cache.

Source: Xing et al., "PyramidDrop: Accelerating Your Large Vision-Language Models via Pyramid Visual Redundancy
Reduction" (CVPR 2025); repository Cooperx521/PyramidDrop.
Licence: MIT.
Differs: the release has one setting for LLaVA-1.5, layers 8, 16 and 24 at 0.5, 0.25 and 0.125 of the tokens, a mean of
270. For other budgets it publishes none. Here the stages stay geometric, n q, n q^2 and n q^3, and q follows from the
budget; below a third of the tokens, of which the first eight layers alone read a fourth, the stages begin after layers
2, 8 and 16. The release has no grouped queries and fails in eager attention; here keys are repeated for their groups.
Cost: one row of attention in each stage.
Published: 95.17 / 76.41 % at 128 / 64 tokens (as for fastv), with settings that are not stated.
Use it when: what you compare with prunes by the question, step by step.
"""

from dataclasses import dataclass

from vtp_export.inllm import base
from vtp_export.inllm._budgets import Cut, Cuts, nearest
from vtp_export.inllm._cutting import Cutting
from vtp_export.inllm._depths import DEPTHS, after, asked_depths, matched, numbers

STAGES, EARLY = (8, 16, 24), (2, 8, 16)


@dataclass(frozen=True)
class Config(base.Config):
    """Settings of PyramidDrop.

    after: after how many layers each stage ends; 8/16/24 where it is left out, 2/8/16 below a third of the tokens.
    ratios: the share of all image tokens that is left behind each, in place of the budget; published: 0.5/0.25/0.125.
    """

    after: str | None = after(DEPTHS)
    ratios: str | None = numbers(
        "shares above 0 and up to 1 that do not rise, such as 0.5/0.25/0.125",
        lambda shares: all(0 < share <= 1 for share in shares) and list(shares) == sorted(shares, reverse=True),
        "the budget",
    )

    @property
    def fixed(self) -> bool:
        """Whether the ratios are given."""
        return self.ratios is not None


class Method(Cutting):
    """Cuts that the layer behind them ranks."""

    renumbers = True

    def _cuts(self, n: int, layers: int) -> Cuts:
        ratios = self.config.ratios
        published = EARLY if ratios is None and 3 * self.config.keep < n else STAGES
        places = asked_depths(self.config.after, published, layers)

        def plan(counts: list[int]) -> Cuts:
            pairs = zip(places, counts, strict=True)
            return tuple(Cut(before=place, ranks=place, keep=max(1, count)) for place, count in pairs)

        if ratios is not None:
            return plan([int(n * share) for share in matched("ratios", ratios, places)])
        return nearest(self.config.keep, n, layers, lambda first: plan(_geometric(first, n, len(places))))


def _geometric(first: int, n: int, stages: int) -> list[int]:
    """Counts n q^i with n q = first, cut down to whole tokens.

    Example:
        >>> _geometric(288, 576, 3)
        [288, 144, 72]
    """
    return [first**i // n ** (i - 1) for i in range(1, stages + 1)]
