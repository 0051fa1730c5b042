"""The contract of a method that prunes inside the language model's decoder, such as FastV. No torch.

A front end cannot hold such a method: it reads hidden states and attention of decoder layers, and the question. So it
is a reference: `compare` runs it in Transformers' own decoder, and nothing exports it.

A file `inllm/NAME.py` defines

- `Config(base.Config)`: its settings, all with defaults, `keep` first;
- `Method(_cutting.Cutting)`: where it cuts (`_cuts`), and what it does otherwise than that class.

What `keep` counts: visual tokens that a layer reads, mean over the layers. That is the cost of a method, whatever its
release calls the budget; of a front end it is the number of tokens that come out.

Laws, checked for every file: the mean is as near to the budget as whole tokens let it be; what layers read in a run is
what `layer_tokens` says; a budget of all tokens changes nothing; the released code's choices are met in float64.
"""

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

from vtp_export import rooms
from vtp_export.inllm._budgets import Cuts, mean_tokens, read_by_layers
from vtp_export.settings import Setting, at_least, check, described


@dataclass(frozen=True)
class Span:
    """Where the visual tokens of a prompt stand: how many tokens of text before them, they, and the text after."""

    before: int
    visual: int
    after: int


@dataclass(frozen=True)
class Config:
    """Settings of a method.

    keep: visual tokens that a layer of the language model reads, mean over all layers.

    Raises:
        SpecError: a value breaks its rule.
    """

    keep: int = at_least(192, 1, source="a third of LLaVA-1.5's 576 tokens, as in the papers")

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        check(self)

    @property
    def fixed(self) -> bool:
        """Whether other settings say how many tokens stay, so that `keep` decides nothing."""
        return False


class Method(ABC):
    """One method at one budget.

    Args:
        config: its settings.
    """

    def __init__(self, config: Any) -> None:
        """See the class."""
        self.config = config
        self._known: dict[tuple[int, int], Cuts] = {}
        self._larger: dict[int, Method] = {}

    @abstractmethod
    def _cuts(self, n: int, layers: int) -> Cuts:
        """The cuts of n visual tokens where some are to go, first to last."""

    @abstractmethod
    def pruning(self, decoder: Any, span: Span) -> AbstractContextManager[object]:
        """While it is entered, the decoder prunes one prompt in its prefill, and goes on from what is left.

        One prompt, batch 1, without padding: its whole prefill in one call, then one token a call, with the cache that
        the prefill made. What was changed in the decoder is as it was when it is left.

        Args:
            decoder: the language model's stack of layers (`layers`, `rotary_emb`), as Transformers has it.
            span: where the visual tokens stand.
        """

    @abstractmethod
    def refuse_unfit(self, decoder: Any) -> None:
        """See that it can prune in this decoder, before a prompt comes.

        Raises:
            ModelError: it cannot; says why.
        """

    def of_views(self, visual: int, view: int) -> "Method":
        """The same for a picture of several views, whose budget is as much larger as the picture is.

        Args:
            visual: tokens of the picture.
            view: tokens of the view that the budget is for.
        """
        keep = max(1, round(self.config.keep * visual / view))
        if keep == self.config.keep:
            return self
        if keep not in self._larger:
            self._larger[keep] = type(self)(replace(self.config, keep=keep))
        return self._larger[keep]

    def cuts(self, n: int, layers: int) -> Cuts:
        """The cuts of n visual tokens in a decoder of so many layers, first to last; none where all are kept.

        Raises:
            SpecError: it cannot be done with these settings.
        """
        if (n, layers) not in self._known:
            idle = not self.config.fixed and self.config.keep >= n
            self._known[n, layers] = () if idle else self._cuts(n, layers)
        return self._known[n, layers]

    def layer_tokens(self, n: int, layers: int) -> list[int]:
        """Visual tokens that each layer reads in the prefill, of n."""
        return read_by_layers(self.cuts(n, layers), n, layers)

    def booked_tokens(self, n: int, layers: int) -> list[int]:
        """The same as the release counts it: the mean is the budget that its tables name."""
        return self.layer_tokens(n, layers)

    def processed(self, visual: int, layers: int) -> float:
        """The mean over the layers of the visual tokens that a layer reads.

        Args:
            visual: tokens of the picture.
            layers: of the language model.

        Raises:
            SpecError: see `cuts`.
        """
        return mean_tokens(self.layer_tokens(visual, layers))

    def booked(self, visual: int, layers: int) -> float:
        """The same as the release counts it; see `booked_tokens`."""
        return mean_tokens(self.booked_tokens(visual, layers))


def settings_of(name: str) -> tuple[Setting, ...]:
    """Every setting of a method, as of `pruners.base.settings_of`.

    Raises:
        UnknownNameError: no such method.
    """
    return described(rooms.load("inllm", name).Config)
