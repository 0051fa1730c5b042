"""What is known while a graph is captured: sizes are, values are not."""

import warnings

import torch
from torch import Tensor


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
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # type: ignore[attr-defined]  # of torch.jit's docs
        return int(values.shape[axis])


def capturing() -> bool:
    """Whether a graph is being captured from what runs: then no value can be looked at."""
    return torch.compiler.is_exporting() or torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]


def identity(n: int, like: Tensor) -> Tensor:
    """The (n, n) identity matrix in the dtype and on the device of `like`.

    Not `torch.eye`, which is exported as a comparison of uint16 numbers, and TensorRT has no such comparison.

    Example:
        >>> import torch
        >>> identity(2, torch.zeros(1)).tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """
    place = torch.arange(n, device=like.device)
    return (place[:, None] == place).to(like.dtype)


def diagonal(matrix: Tensor) -> Tensor:
    """Of (b, n, n): (b, n).

    A slice with a step. Not `Tensor.diagonal`, which is exported as an EyeLike of a computed shape, and TensorRT wants
    that shape known.
    """
    n = static_size(matrix, -1)
    return matrix.reshape(-1, n * n)[:, :: n + 1]
