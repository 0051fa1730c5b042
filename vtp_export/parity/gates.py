"""What an artefact must meet to pass validation, by its precision."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Gates:
    """Limits; beyond one of them the validation fails.

    explained: whether a selection that differs must be one that the reference makes within the noise. Where numbers are
        as coarse as in bf16 and int8, a runtime's own rounding goes elsewhere than the twin's, and no search through so
        much noise is sure to find the way: there a set is asked to be as good, and explanations are told; for methods
        that merge see `Judge.gates`.
    worth: of a kept set by what its method maximises, over the worth of the reference's set under the same signals:
        mean over the images, at least; worth_worst: of any image.
    jaccard: mean over the images of the Jaccard index of the kept sets, at least; asked only where a method is no walk
        (see `reference/base.py`): one near-tie changes all that a walk keeps after it, and its worth stays.
    cosine: of every token with its counterpart, at least. norm_ratio: by how much their lengths may differ, as a share.
    relative_error: largest error of an entry over the largest entry.
    erank: relative error where erank >= 20. entropy: error of attention entropy, in nats.
    answers: share of answers that must be the same, token for token.
    """

    explained: bool
    worth: float
    worth_worst: float
    jaccard: float
    cosine: float
    norm_ratio: float
    relative_error: float
    erank: float
    entropy: float
    answers: float

    def stricter(self, other: "Gates") -> "Gates":
        """Of each limit the one that lets less pass."""
        mine, others = dataclasses.asdict(self), dataclasses.asdict(other)
        return Gates(**{name: (max if name in AT_LEAST else min)(mine[name], others[name]) for name in mine})

    def impossible(self) -> Iterator[str]:
        """A sentence for each limit that is none: a share beyond 0 to 1, or an error below 0."""
        for name, limit in dataclasses.asdict(self).items():
            if limit < 0 or (name in AT_LEAST and limit > 1):
                yield f"the limit '{name}' is {limit:g}; it must be 0 {'to 1' if name in AT_LEAST else 'or more'}"


AT_LEAST = ("explained", "worth", "worth_worst", "jaccard", "cosine", "answers")
"""Limits from below; the others are from above."""

GATES = {
    "fp32": Gates(
        explained=True,
        worth=0.0,
        worth_worst=0.0,
        jaccard=0.0,
        cosine=0.99999,
        norm_ratio=1e-3,
        relative_error=1e-4,
        erank=2e-4,
        entropy=1e-4,
        answers=0.995,
    ),
    "fp16": Gates(
        explained=True,
        worth=0.99,
        worth_worst=0.9,
        jaccard=0.98,
        cosine=0.999,
        norm_ratio=1e-2,
        relative_error=1e-2,
        erank=2e-3,
        entropy=2e-3,
        answers=0.99,
    ),
    "bf16": Gates(
        explained=False,
        worth=0.98,
        worth_worst=0.9,
        jaccard=0.90,
        cosine=0.995,
        norm_ratio=3e-2,
        relative_error=5e-2,
        erank=2e-2,
        entropy=1e-2,
        answers=0.98,
    ),
    "int8": Gates(
        explained=False,
        worth=0.98,
        worth_worst=0.9,
        jaccard=0.85,
        cosine=0.99,
        norm_ratio=5e-2,
        relative_error=2e-1,
        erank=1e-1,
        entropy=5e-2,
        answers=0.97,
    ),
}
"""In float32 a difference is explained or a failure, however rare; so no share of kept tokens is asked for."""


def jaccard(expected: np.ndarray, found: np.ndarray) -> float:
    """Size of the intersection over that of the union of two sets of positions; -1 is none.

    Example:
        >>> jaccard(np.array([1, 2, 3]), np.array([2, 3, 4]))
        0.5
    """
    ours, theirs = set(expected.tolist()) - {-1}, set(found.tolist()) - {-1}
    return len(ours & theirs) / max(len(ours | theirs), 1)
