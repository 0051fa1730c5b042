"""FastV: after the second layer, the image tokens that the last token of the prompt attends to most.

The first K layers read all. The rest read what has most attention of the last token, mean over the heads of layer K
(counted from 1), in the order of the picture and at its old positions. Decoding ranks nothing anew.

Source: Chen et al., "An Image is Worth 1/2 Tokens After Layer 2: Plug-and-Play Inference Acceleration for Large
Vision-Language Models" (ECCV 2024); repository pkunlp-icler/FastV.
Licence: none at the repository's root: its rules are followed here, none of its code.
Differs: the paper's K is 2 and its R = 50 % the share that is pruned; the release's cached variant has K = 3, calls the
share that is *kept* its ratio, and runs the ranking layer twice, which doubles that cache and changes no output. Its
variant without a cache ranks anew at every token. Its scripts start one token late, so that the first image token
always stays; the true start is used here.
Cost: one row of attention in one layer.
Published: 92.31 / 76.86 % at 128 / 64 tokens (of the full model, LLaVA-1.5-7B, mean of nine benchmarks, AgilePruner's
Table 7).
Use it when: what you compare with prunes by the question, once.
"""

from dataclasses import dataclass

from vtp_export.errors import SpecError
from vtp_export.inllm import base
from vtp_export.inllm._budgets import Cut, Cuts, nearest
from vtp_export.inllm._cutting import Cutting
from vtp_export.inllm._depths import DEPTHS, depths
from vtp_export.settings import at_least, setting


@dataclass(frozen=True)
class Config(base.Config):
    """Settings of FastV.

    layer: K: how many layers read all; 2 where it is left out.
    ratio: R: the share of the image tokens that goes, in place of the budget.
    """

    layer: int | None = at_least(None, 1, source=DEPTHS)
    ratio: float | None = setting(None, "from 0 to below 1", lambda ratio: 0 <= ratio < 1, "the budget")

    @property
    def fixed(self) -> bool:
        """Whether the ratio is given."""
        return self.ratio is not None


class Method(Cutting):
    """One cut, ranked by the layer before it."""

    def _cuts(self, n: int, layers: int) -> Cuts:
        place = depths((2,), layers)[0] if self.config.layer is None else self.config.layer
        if place >= layers:
            raise SpecError(f"setting layer is {place}; of a decoder of {layers} layers it must be below {layers}")

        def plan(keep: int) -> Cuts:
            return (Cut(before=place, ranks=place - 1, keep=keep),)

        if self.config.ratio is not None:
            return plan(max(1, round(n * (1 - self.config.ratio))))
        return nearest(self.config.keep, n, layers, plan)
