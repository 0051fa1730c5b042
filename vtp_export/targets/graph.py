"""An ONNX file as the rules see it: nodes, also those inside bodies, with the types and shapes of what they touch.

Weights beside the file are never read, and those inside it are forgotten at once: gigabytes take as long as nodes.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vtp_export.errors import ArtefactError, UnavailableError, first_line
from vtp_export.extras import install

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, ValueInfoProto

Shape = tuple[int | str | None, ...]
Local = frozenset[tuple[str, str]]

SMALL = 64
"""Constants of up to so many entries are read: axes, counts. Zero points are read whatever their number."""

LARGE = 65536
"""Weights of more bytes are forgotten as soon as the file is loaded."""


@dataclass(frozen=True)
class Value:
    """A tensor by name. dtype: NumPy's name, or None where unknown; shape: None where even the rank is unknown.

    constant: whether it is an initializer or a Constant; data: its entries, if they are few and in the file itself.
    """

    dtype: str | None = None
    shape: Shape | None = None
    constant: bool = False
    data: tuple[Any, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class Node:
    """An operator with what it reads and writes; None for an optional input that is left out.

    where: "graph", or the chain of nodes in whose bodies it stands. bodies: of Loop, If and Scan, by attribute.
    standard: whether ONNX has such an operator. local: whether it calls a function of the file itself.
    """

    name: str
    op: str
    domain: str
    where: str
    inputs: tuple[Value | None, ...]
    outputs: tuple[Value, ...]
    attributes: Mapping[str, Any]
    bodies: "Mapping[str, Body]"
    standard: bool
    local: bool


@dataclass(frozen=True)
class Body:
    """What a subgraph takes and gives.

    unread: places of inputs that nothing in it reads.
    """

    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    unread: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Model:
    """A file. opset: of the standard domain. beside: files that its weights are in."""

    opset: int
    ir: int
    nodes: tuple[Node, ...]
    beside: frozenset[str] = frozenset()


def read(path: Path) -> Model:
    """Read an ONNX file without its weights.

    Raises:
        UnavailableError: the `onnx` package is not installed.
        ArtefactError: it is not an ONNX file.
    """
    try:
        import onnx
        from onnx import shape_inference
    except ModuleNotFoundError:
        raise UnavailableError(f"lint needs the onnx package: {install('lint')}") from None
    try:
        loaded = onnx.load(str(path), load_external_data=False)
    except Exception as error:  # of protobuf's several kinds
        raise ArtefactError(f"'{path}' is not an ONNX file: {first_line(error)}") from error
    if not loaded.graph.node:
        raise ArtefactError(f"'{path}' is not an ONNX file: it has no nodes")
    beside = frozenset(
        entry.value for tensor in loaded.graph.initializer for entry in tensor.external_data if entry.key == "location"
    )
    for tensor in loaded.graph.initializer:  # types and shapes do not need the weights
        if len(tensor.raw_data) > LARGE:
            tensor.ClearField("raw_data")
            tensor.data_location = onnx.TensorProto.EXTERNAL
    try:
        model = shape_inference.infer_shapes(loaded, data_prop=True)
    except Exception:  # an operator that onnx does not know, or types that do not fit: lint says so itself
        model = loaded
    return _model(model, beside)


def _model(model: "ModelProto", beside: frozenset[str]) -> Model:
    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)
    scope: dict[str, Value] = {}
    local = frozenset((function.domain, function.name) for function in model.functions)
    nodes = list(_nodes(model.graph, "graph", scope, local))
    for function in model.functions:  # its names are its own
        nodes += _inside(list(function.node), f"function {function.name}", {}, local)
    return Model(opset, model.ir_version, tuple(nodes), beside)


def _nodes(graph: "GraphProto", where: str, scope: dict[str, Value], local: Local) -> Iterator[Node]:
    """Nodes of a graph; `scope` learns its values."""
    for info in (*graph.input, *graph.value_info, *graph.output):
        scope[info.name] = _value(info)
    for tensor in graph.initializer:
        scope[tensor.name] = _constant(tensor)
    return iter(_inside(list(graph.node), where, scope, local))


def _inside(protos: "list[NodeProto]", where: str, scope: dict[str, Value], local: Local) -> list[Node]:
    from onnx import defs

    found: list[Node] = []
    for place, proto in enumerate(protos):
        name = proto.name or f"{proto.op_type} number {place}"
        attributes, bodies = {}, {}
        for attribute in proto.attribute:
            if attribute.HasField("g"):
                inner = dict(scope)
                chain = f"{where}, body of {name}" if where != "graph" else f"body of {name}"
                found += _nodes(attribute.g, chain, inner, local)
                sides = [
                    tuple(inner.get(v.name, Value()) for v in side) for side in (attribute.g.input, attribute.g.output)
                ]
                bodies[attribute.name] = Body(sides[0], sides[1], _unread(attribute.g))
            elif not attribute.ref_attr_name:  # of a function: its value comes with the call
                attributes[attribute.name] = _attribute(attribute)
        if proto.op_type == "Constant":
            scope[proto.output[0]] = _of_constant_node(attributes)
        inputs = tuple(scope.get(given, Value()) if given else None for given in proto.input)
        outputs = tuple(scope.get(made, Value()) for made in proto.output if made)
        domain = "" if proto.domain == "ai.onnx" else proto.domain
        found.append(
            Node(
                name=name,
                op=proto.op_type,
                domain=domain,
                where=where,
                inputs=inputs,
                outputs=outputs,
                attributes=attributes,
                bodies=bodies,
                standard=defs.has(proto.op_type, domain),
                local=(proto.domain, proto.op_type) in local,
            )
        )
    return found


def _unread(graph: "GraphProto") -> frozenset[int]:
    read = {value.name for value in graph.output} | _reads(graph)
    return frozenset(place for place, value in enumerate(graph.input) if value.name not in read)


def _reads(graph: "GraphProto") -> set[str]:
    """Names that its nodes read, and those in bodies of these."""
    bodies = (attribute.g for node in graph.node for attribute in node.attribute if attribute.HasField("g"))
    return {name for node in graph.node for name in node.input}.union(*map(_reads, bodies))


def _attribute(attribute: Any) -> Any:
    from onnx import helper

    value = helper.get_attribute_value(attribute)
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _value(info: "ValueInfoProto") -> Value:
    tensor = info.type.tensor_type
    if not info.type.HasField("tensor_type"):
        return Value()
    shape: Shape | None = None
    if tensor.HasField("shape"):
        shape = tuple(d.dim_value if d.HasField("dim_value") else d.dim_param or None for d in tensor.shape.dim)
    return Value(_dtype(tensor.elem_type), shape)


def _constant(tensor: Any) -> Value:
    from onnx import TensorProto, numpy_helper

    size = 1
    for length in tensor.dims:
        size *= length
    data = None
    whole = tensor.data_type in (TensorProto.INT8, TensorProto.UINT8) and len(tensor.dims) <= 1
    if (size <= SMALL or whole) and tensor.data_location != TensorProto.EXTERNAL:
        data = tuple(numpy_helper.to_array(tensor).reshape(-1).tolist())
    return Value(_dtype(tensor.data_type), tuple(tensor.dims), True, data)


def _of_constant_node(attributes: Mapping[str, Any]) -> Value:
    if "value" in attributes:
        return _constant(attributes["value"])
    for name, dtype in (("value_int", "int64"), ("value_float", "float32")):
        if name in attributes:
            return Value(dtype, (), True, (attributes[name],))
    for name, dtype in (("value_ints", "int64"), ("value_floats", "float32")):
        if name in attributes:
            return Value(dtype, (len(attributes[name]),), True, tuple(attributes[name]))
    return Value(None, None, True)


def _dtype(number: int) -> str | None:
    from onnx import TensorProto

    if number == TensorProto.UNDEFINED:
        return None
    name: str = TensorProto.DataType.Name(number).lower()
    return {"float": "float32", "double": "float64"}.get(name, name)
