"""What is known while a graph is captured: sizes are, values are not."""

import contextlib
import warnings
from collections.abc import Iterator

import numpy as np
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
    with _meant():
        return int(values.shape[axis])


def capturing() -> bool:
    """Whether a graph is being captured from what runs: then no value can be looked at."""
    return torch.compiler.is_exporting() or torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]


def constant(array: np.ndarray, like: Tensor) -> Tensor:
    """A constant of any graph that is traced from here, on the device of `like` and in its dtype.

    Rounded before a graph sees it: TensorRT has no float64. As with `static_size`, that it is a constant is meant.

    Example:
        >>> import numpy as np, torch
        >>> constant(np.array([0.5]), torch.zeros(1)).dtype
        torch.float32
    """
    narrow = array if like.dtype == torch.float64 else array.astype(np.float32)
    with _meant():
        return torch.from_numpy(narrow).to(like.device)


@contextlib.contextmanager
def _meant() -> Iterator[None]:
    """Without the warnings that `torch.jit.trace` gives of everything that becomes a constant."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # type: ignore[attr-defined]  # of torch.jit's docs
        yield


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


def earlier(n: int, like: Tensor) -> Tensor:
    """(n, n) bool on the device of `like`, True at [i, j] where j < i.

    A comparison of positions. Not a triangle of ones: ONNX Runtime before 1.19 has no Trilu of booleans.

    Example:
        >>> import torch
        >>> earlier(2, torch.zeros(1)).tolist()
        [[False, False], [True, False]]
    """
    place = torch.arange(n, device=like.device)
    return place[:, None] > place


def diagonal(matrix: Tensor) -> Tensor:
    """Of (b, n, n): (b, n).

    A slice with a step. Not `Tensor.diagonal`, which is exported as an EyeLike of a computed shape, and TensorRT wants
    that shape known.
    """
    n = static_size(matrix, -1)
    return matrix.reshape(-1, n * n)[:, :: n + 1]
