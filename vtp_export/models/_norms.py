"""A norm that torch's own module does not do in a wider dtype than its input."""

import torch
from torch import Tensor, nn

from vtp_export.functional.precision import at_least_float32


class RmsNorm(nn.Module):
    """By the root mean square over channels."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.empty(width)), eps

    def forward(self, x: Tensor) -> Tensor:
        """(..., d) to the same, at least float32."""
        x = at_least_float32(x)
        return x * (x.square().mean(-1, keepdim=True) + self.eps).rsqrt() * self.weight
