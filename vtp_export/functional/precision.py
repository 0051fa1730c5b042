"""Selection never runs in less than float32, whatever the rest of the graph does."""

import torch
from torch import Tensor


def at_least_float32(values: Tensor) -> Tensor:
    """Widen half precision to float32; float32 and float64 pass unchanged.

    Example:
        >>> at_least_float32(torch.ones(1, dtype=torch.float16)).dtype
        torch.float32
    """
    return values if values.dtype in (torch.float32, torch.float64) else values.float()
