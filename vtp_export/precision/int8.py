"""Linear layers with int8 weights, one scale per output channel, in two forms.

Dynamic: the scale and zero point of the input are those of the tensor at hand, as ONNX's DynamicQuantizeLinear finds
them; for ONNX Runtime on a CPU. Static: the scale comes from range images, and quantising and dequantising is
written around a float32 product (Q/DQ), which TensorRT and ONNX Runtime fuse into an integer one; the grid is
symmetric, as TensorRT wants it.
"""

import torch
import torch.ao.quantization.fx  # registers torch.ops.quantized_decomposed
from torch import Tensor, nn

STEPS = 127
"""Largest magnitude on the grid of weights; -128 is not used, so that it is symmetric."""

SMOOTHING = 0.5
"""How much of the unevenness of input channels is moved into the weights (SmoothQuant, Xiao et al. 2023, alpha)."""

TINY = 1e-12


def quantised(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Round weights to int8 per output channel.

    Args:
        weight: (out, in).

    Returns:
        (in, out) int8, turned round so that a product needs no transposition; and the steps, (out,) float32.

    Example:
        >>> whole, step = quantised(torch.tensor([[1.0, -2.0]]))
        >>> whole.flatten().tolist(), round(step.item(), 4)
        ([64, -127], 0.0157)
    """
    step = weight.abs().amax(1).clamp(min=TINY) / STEPS
    whole = (weight / step[:, None]).round().clamp(-STEPS, STEPS)
    return whole.to(torch.int8).T.contiguous(), step


class DynamicInt8Layer(nn.Module):
    """The input becomes uint8 on the range of the whole tensor, all images of the batch together."""

    weight: Tensor
    step: Tensor

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        weight, step = quantised(layer.weight)
        self.register_buffer("weight", weight)
        self.register_buffer("step", step)
        self.bias = layer.bias

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) float32 to (..., out) float32."""
        product: Tensor = dynamic_int8_product(x, self.weight, self.step)
        return product if self.bias is None else product + self.bias


@torch.library.custom_op("vtp_export::dynamic_int8_product", mutates_args=())
def dynamic_int8_product(x: Tensor, weight: Tensor, step: Tensor) -> Tensor:
    """Product of x (..., in), rounded to uint8, and weight (in, out) int8 of that step (out,), as ONNX does it.

    In float32: products of integers are exact in it, and their sums nearly so.
    """
    low, high = x.amin().clamp(max=0), x.amax().clamp(min=0)
    scale = ((high - low) / 255).clamp(min=TINY)
    zero = (-low / scale).round()
    whole = ((x / scale).round() + zero).clamp(0, 255)
    return ((whole - zero) @ weight.to(x.dtype)) * (scale * step)


@dynamic_int8_product.register_fake
def _(x: Tensor, weight: Tensor, step: Tensor) -> Tensor:
    return x.new_empty((*x.shape[:-1], weight.shape[1]))


class StaticInt8Layer(nn.Module):
    """The input becomes int8 on a range measured before, after its channels were made more even.

    Args:
        layer: float32.
        channels: (in,) the largest magnitude that each input channel had.
    """

    weight: Tensor
    step: Tensor
    zeros: Tensor
    evening: Tensor

    def __init__(self, layer: nn.Linear, channels: Tensor) -> None:
        super().__init__()
        channels = channels.to(layer.weight.device).clamp(min=1e-5)
        factor = channels**SMOOTHING / layer.weight.abs().amax(0).clamp(min=1e-5) ** (1 - SMOOTHING)
        weight, step = quantised(layer.weight * factor)
        self.scale = float((channels / factor).max()) / STEPS
        self.register_buffer("evening", 1 / factor)
        self.register_buffer("weight", weight)
        self.register_buffer("step", step)
        self.register_buffer("zeros", torch.zeros(len(step), dtype=torch.int64))
        self.bias = layer.bias

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) float32 to (..., out) float32."""
        ops, grid = torch.ops.quantized_decomposed, (-STEPS - 1, STEPS, torch.int8)
        x = ops.quantize_per_tensor(x * self.evening, self.scale, 0, *grid)
        x = ops.dequantize_per_tensor(x, self.scale, 0, *grid)
        product: Tensor = x @ ops.dequantize_per_channel(self.weight, self.step, self.zeros, 1, *grid)
        return product if self.bias is None else product + self.bias
