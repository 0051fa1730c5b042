"""Linear layers with int8 weights, in two forms.

Blocks: weights and inputs share a scale among 32 or 128 neighbouring channels, those of the inputs found at run time,
as ONNX Runtime's MatMulNBits does it on a CPU. Static: one scale per output channel of the weights and one for the
input, from range images; quantising and dequantising is written around a float32 product (Q/DQ), which TensorRT and
ONNX Runtime fuse into an integer one; the grid is symmetric, as TensorRT wants it.
"""

import torch
import torch.ao.quantization.fx  # registers torch.ops.quantized_decomposed
from torch import Tensor, nn

BLOCKS = (32, 128)
"""Channels that may share a scale: the smaller, the nearer to float32, and the slower."""

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


class BlockInt8Layer(nn.Module):
    """Weights and inputs are rounded in blocks of neighbouring channels, each on its own scale.

    No image depends on its batch, and a channel or token of unusual size coarsens its own block alone.

    Args:
        layer: float32.
        block: how many input channels share a scale.
    """

    weight: Tensor
    step: Tensor

    def __init__(self, layer: nn.Linear, block: int) -> None:
        super().__init__()
        weight, step = in_blocks(layer.weight, block)
        self.register_buffer("weight", weight)
        self.register_buffer("step", step)
        self.channels, self.bias = layer.in_features, layer.bias

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) float32 to (..., out) float32."""
        product: Tensor = block_int8_product(x, self.weight, self.step, self.channels)
        return product if self.bias is None else product + self.bias


def in_blocks(weight: Tensor, block: int) -> tuple[Tensor, Tensor]:
    """Round weights to int8 per output channel and block of input channels.

    Args:
        weight: (out, in).
        block: input channels that share a step; the last block is filled up with zeros.

    Returns:
        (out, blocks, block) uint8, of which 128 is zero, as ONNX Runtime's MatMulNBits holds them; steps (out, blocks).

    Example:
        >>> whole, step = in_blocks(torch.tensor([[1.0, -2.0, 0.5]]), 2)
        >>> whole.flatten().tolist(), [round(one, 4) for one in step.flatten().tolist()]
        ([192, 1, 255, 128], [0.0157, 0.0039])
    """
    blocks = -(-weight.shape[1] // block)
    split = nn.functional.pad(weight, (0, blocks * block - weight.shape[1])).unflatten(1, (blocks, block))
    step = split.abs().amax(2).clamp(min=TINY) / STEPS
    whole = (split / step[:, :, None]).round().clamp(-STEPS, STEPS) + 128
    return whole.to(torch.uint8), step


@torch.library.custom_op("vtp_export::block_int8_product", mutates_args=())
def block_int8_product(x: Tensor, weight: Tensor, step: Tensor, channels: int) -> Tensor:
    """Product of x (..., in), rounded in blocks to int8, and weights from `in_blocks`, as ONNX Runtime makes it.

    In float32: products of integers are exact in it, and their sums nearly so.

    Args:
        x: float32.
        weight: (out, blocks, block) uint8.
        step: (out, blocks).
        channels: in.
    """
    blocks, block = weight.shape[1:]
    split = nn.functional.pad(x, (0, blocks * block - channels)).unflatten(-1, (blocks, block))
    largest = torch.maximum(split.amax(-1, keepdim=True), -split.amin(-1, keepdim=True))  # abs() writes all of it anew
    scale = largest.clamp(min=TINY) / STEPS
    rounded = (split / scale).round_().mul_(scale).flatten(-2)[..., :channels]
    whole = weight.to(x.dtype).sub_(128).mul_(step[:, :, None])
    product: Tensor = rounded @ whole.flatten(1)[:, :channels].T
    return product


@block_int8_product.register_fake
def _(x: Tensor, weight: Tensor, step: Tensor, channels: int) -> Tensor:
    return x.new_empty((*x.shape[:-1], weight.shape[0]))


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
