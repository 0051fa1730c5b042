"""How some operations of the graphs are written in ONNX, where the exporter's own way is none or not the best."""

import math
from collections.abc import Callable
from typing import Any

import onnxscript
import torch
from onnx import TensorProto
from onnx.defs import OpSchema

op: Any = onnxscript.opset20
CONTRIBUTED: Any = onnxscript.values.Opset("com.microsoft", 1)
HALVES = (TensorProto.FLOAT16, TensorProto.BFLOAT16)
WHOLE = (TensorProto.INT32, TensorProto.INT64)


def translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """For `torch.onnx.export(custom_translation_table=)`."""
    table: dict[Callable[..., Any], Callable[..., Any]] = {
        torch.ops.aten.scaled_dot_product_attention.default: attention,
        torch.ops.aten.clamp.default: clamp,
        torch.ops.aten.clamp.Tensor: clamp,
        torch.ops.aten.gelu.default: gelu,
        torch.ops.aten.floor_divide.default: floor_divide,
    }
    if hasattr(torch.ops.vtp_export, "block_int8_product"):  # defined by `precision.int8`, when that is in use
        table[torch.ops.vtp_export.block_int8_product.default] = block_int8_product
    return table


def attention(query: Any, key: Any, value: Any, attn_mask: Any = None) -> Any:
    """Attention of (b, heads, m, dh) without a mask; softmax in float32 whatever the products are in.

    The scale goes on the query before the product: in half precision the product may overflow otherwise.
    """
    assert attn_mask is None
    factor = float(query.shape[-1]) ** -0.5
    scaled = op.Mul(query, op.CastLike(op.Constant(value_float=factor), query))
    logits = op.MatMul(scaled, op.Transpose(key, perm=[0, 1, 3, 2]))
    if query.dtype not in HALVES:
        return op.MatMul(op.Softmax(logits, axis=-1), value)
    weights = op.Softmax(op.Cast(logits, to=TensorProto.FLOAT), axis=-1)
    return op.MatMul(op.CastLike(weights, value), value)


def gelu(x: Any, approximate: str = "none") -> Any:
    """By Erf or Tanh: whether TensorRT 10.3 has Gelu is not known, and ONNX Runtime fuses these all the same."""
    half, one, root, cubic = (
        op.CastLike(op.Constant(value_float=value), x) for value in (0.5, 1.0, 2.0**0.5, 0.044715)
    )
    if approximate == "none":
        return op.Mul(op.Mul(x, op.Add(op.Erf(op.Div(x, root)), one)), half)
    slope = op.CastLike(op.Constant(value_float=(2.0 / math.pi) ** 0.5), x)
    bent = op.Mul(slope, op.Add(x, op.Mul(cubic, op.Mul(x, op.Mul(x, x)))))
    return op.Mul(op.Mul(x, half), op.Add(op.Tanh(bent), one))


def clamp(x: Any, min: Any = None, max: Any = None) -> Any:
    """Between two numbers, or tensors without axes. TensorRT takes no whole numbers in Clip."""
    low, high = (None if bound is None else _scalar(bound, x) for bound in (min, max))
    if x.dtype not in WHOLE:
        return op.Clip(x, low, high)
    x = x if low is None else op.Max(x, low)
    return x if high is None else op.Min(x, high)


def _scalar(bound: Any, like: Any) -> Any:
    assert not getattr(bound, "shape", ())
    return op.CastLike(bound if hasattr(bound, "dtype") else op.Constant(value_float=float(bound)), like)


def floor_divide(x: Any, divisor: Any) -> Any:
    """Of whole numbers. The exporter's own way compares booleans, which TensorRT does not."""
    assert x.dtype in WHOLE
    divisor = op.CastLike(divisor, x) if hasattr(divisor, "dtype") else op.CastLike(op.Constant(value_int=divisor), x)
    return op.Div(op.Sub(x, op.Mod(x, divisor)), divisor)


def block_int8_product(x: Any, weight: Any, step: Any, channels: int) -> Any:
    """See `precision.int8.block_int8_product`; with accuracy level 4 the inputs are rounded in blocks, too."""
    out, _, block = (int(size) for size in weight.shape)
    return _product_in_blocks()(x, weight, step, K=channels, N=out, bits=8, block_size=block, accuracy_level=4)


def _product_in_blocks() -> Any:
    """An operator that ONNX Runtime alone has, which the exporter cannot look up."""
    name, (parameter, attribute) = "MatMulNBits", (OpSchema.FormalParameter, OpSchema.Attribute)
    schema = OpSchema(
        name,
        CONTRIBUTED.domain,
        CONTRIBUTED.version,
        inputs=[parameter("A", "T"), parameter("B", "W"), parameter("scales", "T")],
        outputs=[parameter("Y", "T")],
        type_constraints=[("T", ["tensor(float)"], ""), ("W", ["tensor(uint8)"], "")],
        attributes=[
            attribute(one, OpSchema.AttrType.INT) for one in ("K", "N", "bits", "block_size", "accuracy_level")
        ],
    )
    return onnxscript.values.Op(CONTRIBUTED, name, schema)
