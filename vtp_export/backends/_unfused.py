"""An ONNX graph in which no runtime is tempted to add a vector of constants inside of a sum, and to add the wrong ones.

OpenVINO (2024.6 to 2026.4, on CPUs) makes one operation of a reduction over the last of three axes and of what follows
it. A vector of constants among that, (n,) for results (b, n), is then read by the image instead of by the place: in
batches of two and more, image i gets the i-th number everywhere. An axis taken away and put back keeps the two apart.
"""

import onnx_ir as ir

ELEMENTWISE = (
    *("Add", "Sub", "Mul", "Div", "Abs", "Neg", "Sqrt", "Exp", "Log", "Erf", "Clip", "Cast"),
    *("Elu", "HardSigmoid", "LeakyRelu", "PRelu", "Relu", "Sigmoid", "Tanh"),
)
"""What may be made part of the operation before."""


def keep_apart(model: ir.Model) -> None:
    """Put a change of shape behind every reduction over the last of three axes that a vector of constants follows.

    Args:
        model: constants are initializers of the main graph; results stay what they are, to the bit.
    """
    for node in list(ir.traversal.RecursiveGraphIterator(model.graph)):
        if node.op_type.startswith("Reduce") and _over_the_last_of_three(node) and _meets_a_vector(node.outputs[0]):
            _reshape_after(node)


def _over_the_last_of_three(node: ir.Node) -> bool:
    source, axes = node.inputs[0], node.inputs[1] if len(node.inputs) > 1 else None
    if source is None or source.shape is None or axes is None or axes.const_value is None:
        return False
    return len(source.shape) == 3 and axes.const_value.numpy().tolist() in ([-1], [2])


def _meets_a_vector(value: ir.Value) -> bool:
    """Whether constants of several numbers follow, perhaps after operations on each number alone."""
    for consumer in value.consumers():
        if consumer.op_type in ELEMENTWISE:
            others = [other for other in consumer.inputs if other is not None and other is not value]
            sizes = [0 if other.const_value is None else other.const_value.size for other in others]
            if any(size > 1 for size in sizes) or (all(sizes) and _meets_a_vector(consumer.outputs[0])):
                return True
    return False


def _reshape_after(node: ir.Node) -> None:
    """Turn `keepdims` round, and take the axis away, or put it back, in an operation of its own."""
    reduced, axes, keepdims = node.outputs[0], node.inputs[1], node.attributes.get_int("keepdims", 1)
    result = ir.Value(name=reduced.name, shape=reduced.shape, type=reduced.type)
    ir.convenience.replace_all_uses_with(reduced, result, replace_graph_outputs=True)
    node.attributes.add(ir.AttrInt64("keepdims", 1 - keepdims))
    reduced.name, reduced.shape = f"{reduced.name}_apart", None
    after = ir.Node("", "Unsqueeze" if keepdims else "Squeeze", [reduced, axes], outputs=[result])
    assert node.graph is not None
    node.graph.insert_after(node, after)
