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

from vtp_export.functional.ranking import everything
from vtp_export.functional.tokens import Selection, Tokens
from vtp_export.pruners import base
from vtp_export.settings import at_least
from vtp_export.spec import Candidates


@dataclass(frozen=True)
class Config(base.Config):
    """Nothing can be set.

    keep: ignored, all n tokens are kept.
    """

    keep: int = at_least(0, 0, source="this package")

    @property
    def budget(self) -> None:
        """It knows none."""


def needs(config: Config) -> frozenset[str]:
    """Nothing but `hidden`."""
    return frozenset()


class Pruner(base.Pruner):
    """The identity."""

    def __init__(self, config: Config, candidates: Candidates) -> None:
        super().__init__(config, candidates)
        self.method = base.Method(slots=candidates.n, needs=needs(config), by_place=True)

    def forward(self, tokens: Tokens) -> Selection:
        """All positions, ascending."""
        return Selection(everything(tokens.hidden))
