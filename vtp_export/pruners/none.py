"""Keep every token: the front end as it is, for comparison.

Use it to measure what pruning costs and what it loses.
"""

from dataclasses import dataclass

from torch import nn

from vtp_export.functional.ranking import everything
from vtp_export.functional.tokens import Selection, Tokens

NEEDS: tuple[str, ...] = ()
STAGE = "hidden"


@dataclass(frozen=True)
class Config:
    """No settings; `keep` is ignored, all n tokens are kept."""

    keep: int = 0


class Pruner(nn.Module):
    """The identity."""

    measures: tuple[str, ...] = ()

    def __init__(self, config: Config, n_tokens: int) -> None:
        super().__init__()
        self.keep = n_tokens

    def forward(self, tokens: Tokens) -> Selection:
        """All positions, ascending."""
        return Selection(everything(tokens.hidden))
