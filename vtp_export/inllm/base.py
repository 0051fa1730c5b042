"""The contract of a method that prunes inside the language model, such as FastV.

A file `inllm/NAME.py` defines

- `Config(base.Config)`: its settings, all with defaults, `keep` first;
- `Method(base.Method)`: `__init__(config)`, `pruning` and `processed`.

Such a method reads all visual tokens, and the question beside them, so that no exported front end can do its work: it
stands in comparisons alone.
"""

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from vtp_export.settings import at_least, check


@dataclass(frozen=True)
class Span:
    """Where the visual tokens of a prompt stand: how many tokens of text before them, they, and the text after."""

    before: int
    visual: int
    after: int


@dataclass(frozen=True)
class Config:
    """Settings of such a method.

    keep: the mean over the layers of the language model of the visual tokens that a layer really processes.

    Raises:
        SpecError: a value breaks its rule.
    """

    keep: int = at_least(64, 1, source="a ninth of LLaVA-1.5's 576 tokens, as in the papers")

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        check(self)


class Method(ABC):
    """One method at one budget.

    Args:
        config: its settings.
    """

    def __init__(self, config: Config) -> None:
        """See the class."""
        self.config = config

    @abstractmethod
    def pruning(self, decoder: Any, span: Span) -> AbstractContextManager[None]:
        """While it is entered, the decoder prunes one prompt in its prefill, and goes on from what is left.

        One prompt, batch 1, without padding: its whole prefill in one call, then one token a call, with the cache that
        the prefill made. What was changed in the decoder is as it was when it is left.

        Args:
            decoder: the language model's stack of layers (`layers`, `rotary_emb`), as Transformers has it.
            span: where the visual tokens stand.
        """

    @abstractmethod
    def processed(self, visual: int, layers: int) -> float:
        """The mean over the layers of the visual tokens that a layer processes.

        Args:
            visual: tokens of the picture.
            layers: of the language model.
        """
