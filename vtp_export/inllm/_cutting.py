"""Methods that rank visual tokens by a layer's attention, and let the next layers read the best."""

from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from vtp_export.inllm import _prefill, base
from vtp_export.inllm._attention import Attention
from vtp_export.inllm._decoders import refuse_unfit


class Cutting(base.Method):
    """What is chosen where, and with which positions the rest goes on.

    renumbers: whether positions are counted anew behind a cut, each layer's cache going on from its own length; else
        every token keeps its position.
    heads: how many heads the decoder must have at least.
    """

    renumbers: bool = False
    heads: int = 1

    def refuse_unfit(self, decoder: Any) -> None:
        """See `_decoders.refuse_unfit`."""
        refuse_unfit(decoder, self)

    def pruning(self, decoder: Any, span: base.Span) -> AbstractContextManager[list[_prefill.Stage]]:
        """See `base.Method`; entering it gives what was done at each cut of the latest prompt.

        Raises:
            SpecError: the budget is out of reach; or, when a prompt comes, no word of it can rank.
            ModelError: the decoder, or then the prompt, is of a kind in which this cannot be done.
        """
        return _prefill.pruning(decoder, self, span)

    def raters(self, visual: Tensor, text: Tensor) -> Tensor:
        """Which tokens behind the picture rank the visual ones: indices into `text`; by default the last.

        Args:
            visual: (n, d) input embeddings.
            text: (t, d) those of all that follows, t >= 1.
        """
        return torch.tensor([len(text) - 1], device=text.device)

    def scores(self, attention: Attention) -> Tensor:
        """(visual,) what each visual token is worth; the largest stay."""
        return attention.weights.mean(0).mean(0)

    def merge(self, states: Tensor, scores: Tensor, count: int) -> Tensor:
        """(count, d) tokens made of those that do not stay; by default none.

        Args:
            states: (p, d) hidden states of those, in their order.
            scores: (p,) what they are worth.
            count: the cut's `merged`.
        """
        return states[:0]
