"""VisionZip: CLS, the most attended tokens, and a few contextual ones into which all the others are merged.

The budget counts CLS and contextual tokens. The paper has 10 contextual tokens of 64, 20 of 128 and 30 of 192; other
budgets have the same proportion, to the nearest whole number.

1. Dominant: CLS, then the most attended patches, in spatial order.
2. Of the other patches, in spatial order, every s-th is a target (s = number of others // contextual).
3. Each one left joins the target of highest cosine; compared are the keys of the select layer, mean over heads.
4. A contextual token is its target *plus* the mean of what joined it.

Source: Yang et al., "VisionZip: Longer is Better but Not Necessary in Vision Language Models" (CVPR 2025); repository
dvlab-research/VisionZip.
Licence: Apache-2.0.
Differs: the paper speaks of merging by average; 4. is the release's rule, which gives tokens of about twice the length,
and is followed. Ties go to the lowest position. Tokens are merged before the projector. Output: CLS, dominant tokens in
spatial order, contextual ones in the order of their targets; `kept` is -1 for CLS and names the target of a contextual
token.
Cost: one product of the other keys with those of the targets, one k x n mixture; no loop. In the tower the
keys of the select layer.
Published: 97.19 / 94.46 / 89.41 at 128 / 64 / 32 tokens (% of the full model, LLaVA-1.5-7B, mean of nine benchmarks,
AgilePruner's Table 7). Qwen2.5-VL-7B, 25 % / 10 % kept (AngelSlim's documentation): 87.55 / 71.84 %.
Use it when: the target has no loops, and a summary of the background is wanted.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from vtp_export.errors import SpecError
from vtp_export.functional.merging import one_hot
from vtp_export.functional.precision import at_least_float32
from vtp_export.functional.ranking import best, descending_rank, positions
from vtp_export.functional.similarity import snapped, unit_tokens
from vtp_export.functional.sizes import static_size
from vtp_export.functional.tokens import Selection, Tokens
from vtp_export.pruners import base
from vtp_export.settings import at_least
from vtp_export.spec import Candidates

SHARE = (10, 64)
"""Contextual tokens of a budget; all of the paper's are in this proportion."""


@dataclass(frozen=True)
class Config(base.Config):
    """Settings of VisionZip.

    keep: how many tokens, CLS and the contextual ones among them.
    contextual: how many contextual ones, less than `keep`, or None for the paper's share.
    """

    contextual: int | None = at_least(None, 0, source="the paper: 10 of 64")

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        super().__post_init__()
        if self.contextual is not None and self.contextual >= self.keep:
            raise SpecError(f"setting contextual is {self.contextual}; it must be from 0 to {self.keep - 1} (keep - 1)")


def needs(config: Config) -> frozenset[str]:
    """What `forward` reads."""
    return frozenset({"saliency", "keys", "cls"})


class Pruner(base.Pruner):
    """Dominant and contextual tokens."""

    targets: Tensor
    others: Tensor

    def __init__(self, config: Config, candidates: Candidates) -> None:
        super().__init__(config, candidates)
        self.method = base.Method(slots=self.keep, needs=needs(config), ascending=False, merges=True, by_place=True)
        share = (self.keep * SHARE[0] + SHARE[1] // 2) // SHARE[1]
        self.contextual = share if config.contextual is None else min(config.contextual, self.keep - 1)
        self.dominant = self.keep - self.contextual - 1  # CLS is the one more
        remaining = candidates.n - self.dominant
        step = max(1, remaining // max(self.contextual, 1))
        targets = torch.arange(self.contextual) * step
        others = torch.tensor([i for i in range(remaining) if i not in targets.tolist()], dtype=torch.int64)
        self.register_buffer("targets", targets, persistent=False)
        self.register_buffer("others", others, persistent=False)

    def forward(self, tokens: Tokens) -> Selection:
        """Choose from `saliency` (b, n), merge by `keys` (b, n, dh)."""
        assert tokens.saliency is not None and tokens.keys is not None
        saliency, keys = at_least_float32(tokens.saliency), at_least_float32(tokens.keys)
        n = static_size(saliency, -1)
        dominant = descending_rank(saliency) < self.dominant
        remaining = positions(~dominant, n - self.dominant)
        targets, others = remaining.index_select(1, self.targets), remaining.index_select(1, self.others)
        cls = torch.full_like(remaining[:, :1], -1)
        kept = torch.cat([cls, *([positions(dominant, self.dominant)] if self.dominant else []), targets], dim=1)
        mix = one_hot(kept + 1, n + 1, saliency)  # CLS, which is -1 in `kept`, is candidate 0 of the mixture
        if self.contextual and static_size(self.others, 0):
            joined = self._members(unit_tokens(keys), targets, others) @ one_hot(others + 1, n + 1, saliency)
            before = self.dominant + 1
            mix = torch.cat([mix[:, :before], mix[:, before:] + joined], dim=1)
        return Selection(kept, mix)

    def _members(self, unit: Tensor, targets: Tensor, others: Tensor) -> Tensor:
        """Weights (b, contextual, others) with which the others join the targets."""
        width = static_size(unit, -1)
        theirs = unit.gather(1, targets[:, :, None].expand(-1, -1, width))
        mine = unit.gather(1, others[:, :, None].expand(-1, -1, width))
        cosine = snapped(mine @ theirs.transpose(-1, -2))
        choice = best(cosine.reshape(-1, self.contextual)).reshape(-1, static_size(self.others, 0))
        member = one_hot(choice, self.contextual, unit).transpose(1, 2)
        return member / member.sum(-1, keepdim=True).clamp(min=1)
