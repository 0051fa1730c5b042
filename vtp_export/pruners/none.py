"""Keep every token: the front end as it is, for comparison.

Source: this package.
Licence: none needed.
Differs: from nothing.
Cost: none; all n tokens are projected.
Published: 100 % by definition. LLaVA-1.5-7B: VQAv2 78.5, GQA 61.9, VizWiz 50.1, SQA 69.5, TextVQA 58.2, POPE 85.9, MME
1862, MMB 64.7, MMB-CN 58.1 (AgilePruner).
Use it when: the other methods are to be compared with something.
"""

from dataclasses import dataclass

from torch import nn

from vtp_export.functional.ranking import everything
from vtp_export.functional.tokens import Selection, Tokens
from vtp_export.spec import Candidates

NEEDS: tuple[str, ...] = ()
STAGE = "hidden"


@dataclass(frozen=True)
class Config:
    """No settings; `keep` is ignored, all n tokens are kept."""

    keep: int = 0


class Pruner(nn.Module):
    """The identity."""

    measures: tuple[str, ...] = ()

    def __init__(self, config: Config, candidates: Candidates) -> None:
        super().__init__()
        self.keep = candidates.n

    def forward(self, tokens: Tokens) -> Selection:
        """All positions, ascending."""
        return Selection(everything(tokens.hidden))
