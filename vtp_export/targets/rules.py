"""The rules of lint, one function each. A rule sees one node and says what a target would refuse.

A rule is in force where the target's data file names it, with the settings given there.
"""

from collections.abc import Callable, Iterator
from typing import Any

from vtp_export.targets.graph import Node, Value

Told = tuple[str, str, str]  # severity, problem, remedy
Rule = Callable[[Node, dict[str, Any]], Iterator[Told]]

DYNAMIC = {"NonZero", "NonMaxSuppression", "Unique", "Compress"}


def input_of(node: Node, place: int) -> Value | None:
    """An input of a node, or None where it is left out."""
    return node.inputs[place] if place < len(node.inputs) else None


def topk_sorted(node: Node, settings: dict[str, Any]) -> Iterator[Told]:
    """TopK gives its values in order or not at all."""
    if node.op == "TopK" and node.attributes.get("sorted", 1) != 1:
        yield "error", "TopK with sorted=0", "set sorted=1"


def topk_k(node: Node, settings: dict[str, Any]) -> Iterator[Told]:
    """TopK has a largest K."""
    count = input_of(node, 1) if node.op == "TopK" else None
    if count is not None and count.data and count.data[0] >= settings["below"]:
        yield "error", f"TopK with K = {count.data[0]}; it must be below {settings['below']}", "keep fewer tokens"


def scatternd_reduction(node: Node, settings: dict[str, Any]) -> Iterator[Told]:
    """ScatterND overwrites and does not add."""
    if node.op == "ScatterND" and node.attributes.get("reduction", "none") != "none":
        yield "error", f"ScatterND with reduction={node.attributes['reduction']}", "use reduction=none"


def constant_inputs(node: Node, settings: dict[str, Any]) -> Iterator[Told]:
    """Some inputs must be known when the engine is built."""
    for place in settings.get(node.op, ()):
        value = input_of(node, place)
        unknown = value is None or (value.dtype is None and value.shape is None)  # of a function, for one
        if value is not None and not unknown and not value.constant:
            yield "error", f"input {place} of {node.op} is computed", "make it an initializer"


def zero_point(node: Node, settings: dict[str, Any]) -> Iterator[Told]:
    """Quantisation must be symmetric."""
    if node.op in ("QuantizeLinear", "DequantizeLinear"):
        value = input_of(node, 2)
        if value is None and node.op == "QuantizeLinear":
            yield (
                "error",
                "QuantizeLinear without a zero point gives uint8, and int8 in TensorRT",
                "give it an int8 zero",
            )
        if value is not None and value.data is not None and any(value.data):
            yield "error", f"{node.op} with a zero point other than 0", "quantise symmetrically"
        if value is not None and value.dtype == "uint8":
            yield "error", f"{node.op} to uint8", "quantise to int8"


def resize_antialias(node: Node, settings: dict[str, Any]) -> Iterator[Told]:
    """No antialiasing."""
    if node.op == "Resize" and node.attributes.get("antialias", 0):
        yield "error", "Resize with antialias", "resize before the graph"


def attention_rank(node: Node, settings: dict[str, Any]) -> Iterator[Told]:
    """Attention takes four dimensions."""
    if node.op == "Attention":
        ranks = {len(value.shape) for value in node.inputs[:4] if value is not None and value.shape is not None}
        if ranks - {4}:
            yield "error", f"Attention of rank {min(ranks)}; all its inputs must have rank 4", "split the heads first"


def attention_parts(node: Node, settings: dict[str, Any]) -> Iterator[Told]:
    """Attention has neither softcap nor a cache, and one output."""
    if node.op == "Attention":
        past = any(value is not None for value in node.inputs[4:])
        if past or len(node.outputs) > 1 or node.attributes.get("softcap", 0.0):
            yield (
                "error",
                "Attention with softcap, a cache of keys, or more than one output",
                "compute these outside of it",
            )


def attribute_values(node: Node, settings: dict[str, Any]) -> Iterator[Told]:
    """Some attributes may have some values alone, or lists of these."""
    for name, allowed in settings.get(node.op, {}).items():
        given = node.attributes.get(name, allowed[0])
        if any(value not in allowed for value in (given if isinstance(given, list | tuple) else [given])):
            listed = ", ".join(map(str, allowed))
            yield "error", f"{node.op} with {name}={given}; supported: {listed}", "write it with other operators"


def resize_mode(node: Node, settings: dict[str, Any]) -> Iterator[Told]:
    """Resize knows some ways to interpolate."""
    mode = node.attributes.get("mode", "nearest")
    if node.op == "Resize" and mode not in settings["modes"]:
        yield "error", f"Resize with mode={mode}; supported: {', '.join(settings['modes'])}", "resize before the graph"


def eyelike_static(node: Node, settings: dict[str, Any]) -> Iterator[Told]:
    """EyeLike needs a shape that is known."""
    value = input_of(node, 0) if node.op == "EyeLike" else None
    if value is not None and not (value.shape and all(isinstance(length, int) for length in value.shape)):
        yield "error", f"EyeLike of the shape {value.shape}, which must be known when building", "use a constant matrix"


def bfloat16_products(node: Node, settings: dict[str, Any]) -> Iterator[Told]:
    """No such products on a CPU."""
    if node.op in ("MatMul", "Gemm", "Conv") and any(v is not None and v.dtype == "bfloat16" for v in node.inputs):
        yield (
            "error",
            f"{node.op} of bfloat16, for which the CPU provider has no kernel",
            "run it on a GPU, or use fp16",
        )


def missing_kernels(node: Node, settings: dict[str, Any]) -> Iterator[Told]:
    """Standard operators of types for which the runtime has no kernel."""
    for value in node.inputs[:1]:
        if value is not None and value.dtype in settings.get(node.op, ()):
            yield "error", f"{node.op} of {value.dtype}, for which there is no kernel", "cast its input"


def einsum(node: Node, settings: dict[str, Any]) -> Iterator[Told]:
    """Einsum without ellipsis and without diagonals."""
    if node.op == "Einsum":
        equation = str(node.attributes.get("equation", ""))
        terms = equation.replace(" ", "").partition("->")[0].split(",")
        if "..." in equation or any(len(set(term)) < len(term) for term in terms):
            yield "error", f"Einsum '{equation}' has an ellipsis or a diagonal", "write it as MatMul and Transpose"


def first_output_only(node: Node, settings: dict[str, Any]) -> Iterator[Told]:
    """Further outputs are not there."""
    if node.op in settings["operators"] and len(node.outputs) > 1:
        yield (
            "error",
            f"{node.op} with {len(node.outputs)} outputs; only the first is supported",
            "leave the others out",
        )


def loop_carried_shape(node: Node, settings: dict[str, Any]) -> Iterator[Told]:
    """What a loop carries keeps its shape."""
    body = node.bodies.get("body") if node.op == "Loop" else None
    if body is not None:
        for place, (given, made) in enumerate(zip(body.inputs[2:], body.outputs[1:], strict=False)):
            if given.shape is None or made.shape is None:
                continue
            pairs = list(zip(given.shape, made.shape, strict=False))
            changed = any(isinstance(a, int) and isinstance(b, int) and a != b for a, b in pairs)
            if changed or len(given.shape) != len(made.shape):
                yield "error", f"carried value {place} turns from {given.shape} into {made.shape}", LOOP_FREE


def loop_scan_length(node: Node, settings: dict[str, Any]) -> Iterator[Told]:
    """Outputs that a loop stacks need a length that is known."""
    body = node.bodies.get("body") if node.op == "Loop" else None
    if body is not None and len(body.outputs) > len(body.inputs) - 1:
        count = input_of(node, 0)
        if count is None or not count.constant:
            yield "error", "a stacked output of a Loop whose number of rounds is computed", LOOP_FREE


def loop_condition(node: Node, settings: dict[str, Any]) -> Iterator[Told]:
    """A loop has a condition to begin with: its body may not read one that was left out."""
    if node.op == "Loop" and input_of(node, 1) is None and 1 not in node.bodies["body"].unread:
        yield "error", "a Loop that is given no condition, and whose body reads it", "give it a constant, true"


def if_rank(node: Node, settings: dict[str, Any]) -> Iterator[Told]:
    """Both branches give the same rank."""
    if node.op == "If" and len(node.bodies) == 2:
        sides = [body.outputs for body in node.bodies.values()]
        for one, other in zip(*sides, strict=False):
            if one.shape is not None and other.shape is not None and len(one.shape) != len(other.shape):
                yield "error", f"branches of rank {len(one.shape)} and {len(other.shape)}", "give both the same rank"


def uint8_inside(node: Node, settings: dict[str, Any]) -> Iterator[Told]:
    """UINT8 at the network's edge only, where a Cast turns it into something else."""
    given = any(value is not None and value.dtype == "uint8" for value in node.inputs)
    if given and node.op not in ("Cast", "CastLike", "QuantizeLinear", "DequantizeLinear"):
        yield "error", f"{node.op} of uint8, which may only enter or leave the network", "cast it first"


def double(node: Node, settings: dict[str, Any]) -> Iterator[Told]:
    """Float64 silently becomes float32."""
    if any(value.dtype == "float64" for value in node.outputs):
        yield "note", f"{node.op} of float64 is computed in float32", "export in float32"


def data_dependent_shape(node: Node, settings: dict[str, Any]) -> Iterator[Told]:
    """Sizes that depend on data need an output allocator, and break CUDA graphs."""
    if node.op in DYNAMIC:
        yield "note", f"the size of what {node.op} returns depends on data", "fix a maximum and count"


def loop_operator(node: Node, settings: dict[str, Any]) -> Iterator[Told]:
    """A loop builds, and is risky under ONNX Runtime's TensorRT provider."""
    if node.op == "Loop":
        yield "note", "ONNX Runtime's TensorRT provider has run a Loop one round too often", LOOP_FREE


LOOP_FREE = "export with --loop-free"

RULES: dict[str, Rule] = {
    "topk-sorted": topk_sorted,
    "topk-k": topk_k,
    "scatternd-reduction": scatternd_reduction,
    "constant-inputs": constant_inputs,
    "zero-point": zero_point,
    "resize-antialias": resize_antialias,
    "attention-rank": attention_rank,
    "attention-parts": attention_parts,
    "resize-mode": resize_mode,
    "attribute-values": attribute_values,
    "eyelike-static": eyelike_static,
    "bfloat16-products": bfloat16_products,
    "missing-kernels": missing_kernels,
    "einsum": einsum,
    "first-output-only": first_output_only,
    "loop-carried-shape": loop_carried_shape,
    "loop-scan-length": loop_scan_length,
    "loop-condition": loop_condition,
    "if-rank": if_rank,
    "uint8-inside": uint8_inside,
    "double": double,
    "data-dependent-shape": data_dependent_shape,
    "loop-operator": loop_operator,
}
