"""From a budget to cuts, and back: how many visual tokens each layer of a decoder reads. No torch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vtp_export.errors import SpecError


@dataclass(frozen=True, kw_only=True)
class Cut:
    """Where a decoder goes on with fewer visual tokens.

    before: the first layer that reads fewer. ranks: the layer whose attention says which stay: the one before it, or
    itself. keep: how many stay. merged: how many are made of those that do not.
    """

    before: int
    ranks: int
    keep: int
    merged: int = 0

    @property
    def left(self) -> int:
        """Visual tokens behind the cut."""
        return self.keep + self.merged


Cuts = tuple[Cut, ...]


def read_by_layers(cuts: Cuts, n: int, layers: int) -> list[int]:
    """Visual tokens that each layer reads, of n.

    Example:
        >>> read_by_layers((Cut(before=2, ranks=1, keep=166),), 576, 4)
        [576, 576, 166, 166]
    """
    behind = {cut.before: cut.left for cut in cuts}
    tokens, now = list[int](), n
    for layer in range(layers):
        now = behind.get(layer, now)
        tokens.append(now)
    return tokens


def mean_tokens(tokens: Sequence[int]) -> float:
    """Of a list by layers, the mean."""
    return sum(tokens) / len(tokens)


def nearest(keep: int, n: int, layers: int, plan: Callable[[int], Cuts]) -> Cuts:
    """The cuts with which layers read, on average, as nearly `keep` of n tokens as can be.

    Args:
        keep: the budget.
        n: visual tokens of the picture.
        layers: of the decoder.
        plan: the cuts by how many tokens the first is to leave, from 1 on.

    Raises:
        SpecError: the layers before the first cut alone read more than that.
    """
    means = {first: mean_tokens(read_by_layers(plan(first), n, layers)) for first in range(1, n)}
    least = min(means.values(), default=float(n))
    if keep < least:
        first = plan(1)[0].before
        whole = "the first layer reads" if first == 1 else f"the first {first} of {layers} layers read"
        earlier = "" if first == 1 else ", or cut after fewer layers (--set after=...)"
        raise SpecError(
            f"a mean of {keep} visual tokens a layer is out of reach: {whole} all {n}, so it is {least:.1f} at least; "
            f"ask for more{earlier}"
        )
    return plan(min(means, key=lambda first: abs(means[first] - keep)))
