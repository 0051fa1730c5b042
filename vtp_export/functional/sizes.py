"""Sizes that are known when a graph is built."""

import warnings

from torch import Tensor
from torch.jit._trace import TracerWarning


def static_size(values: Tensor, axis: int) -> int:
    """The size of an axis as a plain int: a constant of any graph that is traced from here.

    For token and channel axes, which an artefact fixes; never for the batch. `torch.jit.trace` warns about every
    size that becomes a constant; saying `static_size` is how this package says that it is meant.

    Example:
        >>> import torch
        >>> static_size(torch.zeros(2, 3), -1)
        3
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TracerWarning)
        return int(values.shape[axis])
