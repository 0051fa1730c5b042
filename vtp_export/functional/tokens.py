"""What a tower hands to a pruner, and what a pruner hands back."""

from typing import NamedTuple

from torch import Tensor


class Tokens(NamedTuple):
    """Signals of a batch of images; None where a pruner's `NEEDS` does not ask for it.

    hidden: (b, n, dv) the features that the projector reads.
    projected: (b, n, d) the same after the projector.
    saliency: (b, n) attention that CLS pays to each candidate in the select layer, mean over heads,
        not renormalised.
    """

    hidden: Tensor
    projected: Tensor | None = None
    saliency: Tensor | None = None


class Selection(NamedTuple):
    """What a pruner decided.

    kept: (b, k) int64 positions of candidates.
    mix: (b, k, m) weights of a linear mixture of the candidates, or None to gather `kept`.
    num_kept: (b,) int64, how many of the k are real, or None for all k. Later slots of `kept` are ignored.
    erank: (b,) effective rank of the features, or None when the method did not need it.
    attention_entropy: (b,) in nats, or None when the method did not need it.
    """

    kept: Tensor
    mix: Tensor | None = None
    num_kept: Tensor | None = None
    erank: Tensor | None = None
    attention_entropy: Tensor | None = None
