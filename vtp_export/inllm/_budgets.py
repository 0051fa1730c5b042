"""From a budget to cuts, and back: how many visual tokens each layer of a decoder reads. No torch."""

import bisect
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


def nearest(keep: int, n: int, layers: int, plan: Callable[[int], Cuts], most: int | None = None) -> Cuts:
    """The cuts with which layers read, on average, as nearly `keep` of n tokens as can be.

    Args:
        keep: the budget.
        n: visual tokens of the picture, 2 or more.
        layers: of the decoder.
        plan: the cuts by a number from 1 on, with which what they leave does not fall; of most methods what the first
            leaves.
        most: the largest such number; n - 1 where nothing is said.

    Raises:
        SpecError: the layers before the first cut alone read more than that.
    """

    def mean(number: int) -> float:
        return mean_tokens(read_by_layers(plan(number), n, layers))

    numbers = range(1, n if most is None else most + 1)
    if keep < (least := mean(1)):
        first = plan(1)[0].before
        whole = "the first layer reads" if first == 1 else f"the first {first} of {layers} layers read"
        earlier = "" if first == 1 else ", or cut after fewer layers"
        raise SpecError(
            f"a mean of {keep} visual tokens a layer is out of reach: {whole} all {n}, so it is {least:.1f} at least; "
            f"ask for more{earlier}"
        )
    above = bisect.bisect_left(numbers, float(keep), key=mean)
    return plan(min(numbers[max(above - 1, 0) : above + 1], key=lambda number: abs(mean(number) - keep)))
