"""What a tower hands to a pruner, and what a pruner hands back."""

from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:  # what only names the signals needs no torch
    from torch import Tensor

Kind = Literal["features", "attention", "beside"]
"""features: (b, n, .) a vector of each candidate. attention: (b, n) a weight of each. beside: (b, 1, .) of none."""


class Tokens(NamedTuple):
    """Signals of a batch of images; None where a pruner does not need it.

    hidden: (b, n, dv) the features that the projector reads.
    projected: (b, n, d) the same after the projector.
    saliency: (b, n) attention that CLS pays to each candidate in the select layer, mean over heads,
        not renormalised; where a tower has no CLS (`Frontend.saliency`), that which each candidate receives.
    cls: (b, 1, dv) the CLS token beside `hidden`, at the same layer.
    keys: (b, n, dh) attention keys of the select layer, mean over heads.
    received: (b, n) attention that each candidate receives in the select layer, mean over heads and over all
        queries, CLS among them.
    early_saliency: (b, n) as `saliency`, in the layer at a quarter of the tower's depth (the 6th of 24).
    early_received: (b, n) as `received`, in the layer at three eighths of the depth (the 9th of 24).
    following_keys: (b, n, dv) keys of the layer after the select layer, all heads side by side.
    following_saliency: (b, n) CLS row of that layer's attention, taken as one head of width dv.
    planes: (b, n, planes * dv) features of layers on the way, side by side: they go to the language model with what
        is kept, and no pruner reads them. There where `Frontend.planes` is above 0, whatever is asked for.
    """

    hidden: "Tensor"
    projected: "Tensor | None" = None
    saliency: "Tensor | None" = None
    cls: "Tensor | None" = None
    keys: "Tensor | None" = None
    received: "Tensor | None" = None
    early_saliency: "Tensor | None" = None
    early_received: "Tensor | None" = None
    following_keys: "Tensor | None" = None
    following_saliency: "Tensor | None" = None
    planes: "Tensor | None" = None


CARRIED = "planes"
"""What goes with the candidates, and is no signal."""

KINDS: dict[str, Kind] = {
    "hidden": "features",
    "projected": "features",
    "saliency": "attention",
    "cls": "beside",
    "keys": "features",
    "received": "attention",
    "early_saliency": "attention",
    "early_received": "attention",
    "following_keys": "features",
    "following_saliency": "attention",
}
"""What each signal is."""


class Selection(NamedTuple):
    """What a pruner decided.

    kept: (b, k) int64 positions of candidates. Where `mix` is given, the candidate that each token is anchored at,
        or -1 for a token that belongs to none, such as CLS.
    mix: (b, k, m) weights of a linear mixture, or None to gather `kept`. m is n, or n + 1 where the method keeps
        CLS, which is then candidate 0 of the mixture (and `cls` is among its needs).
    num_kept: (b,) int64, how many of the k are real, or None for all k. Later slots of `kept` are ignored.
    erank: (b,) effective rank of the features, or None when the method did not need it.
    attention_entropy: (b,) in nats, or None when the method did not need it.
    """

    kept: "Tensor"
    mix: "Tensor | None" = None
    num_kept: "Tensor | None" = None
    erank: "Tensor | None" = None
    attention_entropy: "Tensor | None" = None
