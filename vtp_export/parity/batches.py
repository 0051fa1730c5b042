"""Which batch sizes a validation visits: a fault may live at one of them alone."""

from vtp_export.spec import BatchRange

MOST = 16
"""Images of a benchmark that are judged at once, where the artefact allows it."""

FEW = 4
"""Images that are repeated in batches of other sizes."""

ALONE = 3
"""Images that are each run alone."""


AGAINST_ITSELF = " in batches of other sizes against itself"
"""What a comparison of such batches is called, after the format."""


def usual_size(limits: BatchRange) -> int:
    """Images a run, for the images of a benchmark."""
    return max(limits.min, min(MOST, limits.max))


def other_sizes(limits: BatchRange, visited: int) -> tuple[int, ...]:
    """What is visited besides: the smallest, the usual, the largest batch and an odd one between, ascending.

    Args:
        limits: of the artefact.
        visited: a size that was visited in full, 0 for none.

    Example:
        >>> other_sizes(BatchRange(1, 1, 16), 16)
        (1, 3)
    """
    odd = [size for size in range(3, limits.max, 2) if size > limits.min and size != limits.opt][:1]
    return tuple(sorted({limits.min, limits.opt, limits.max, *odd} - {visited}))


def repeated(size: int, few: int, alone: bool) -> list[list[int]]:
    """Batches of one size, made of a few images: which image stands at each place.

    Args:
        size: of the batches.
        few: how many images there are.
        alone: whether each image fills a batch of its own; otherwise they take turns in one batch.

    Example:
        >>> repeated(1, 3, alone=True), repeated(3, 2, alone=False)
        ([[0], [1], [2]], [[0, 1, 0]])
    """
    if alone:
        return [[i] * size for i in range(min(few, ALONE))]
    return [[place % few for place in range(size)]]
