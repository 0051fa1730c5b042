"""The loops of an ONNX graph written out: copies of the body, one for each round.

Copying nodes of a finished graph takes a hundredth of the time that capturing each round in torch takes.
"""

import onnx_ir as ir

from vtp_export.backends._named import STAGE, STEP, stage_of


def unroll(model: ir.Model) -> None:
    """Replace every loop by its rounds.

    Args:
        model: its loops are those of `functional.loop.repeat`: a turn that counts up from 0, and a state; their
            constants are initializers of the main graph.
    """
    graph = model.graph
    for loop in [node for node in graph if node.op_type == "Loop"]:
        body = loop.attributes["body"].as_graph()
        state = [value for value in loop.inputs[2:] if value is not None]
        for turn in range(_rounds(body)):
            state = _insert_round(graph, loop, body, state, turn)
        ir.convenience.replace_all_uses_with(loop.outputs, state, replace_graph_outputs=True)
        graph.remove(loop, safe=True)


def _rounds(body: ir.Graph) -> int:
    """How often: the condition, the first output, is that the turn is below a constant."""
    condition = body.outputs[0].producer()
    assert condition is not None and condition.op_type == "Less"
    limit = condition.inputs[1]
    assert limit is not None and limit.const_value is not None
    return int(limit.const_value.numpy())


def _insert_round(graph: ir.Graph, loop: ir.Node, body: ir.Graph, state: list[ir.Value], turn: int) -> list[ir.Value]:
    """Put a copy of the body before the loop; returns its state."""
    copy = body.clone(allow_outer_scope_values=True)
    made = list(copy.outputs[1:])
    copy.outputs.clear()
    ir.convenience.replace_all_uses_with(copy.inputs[2:], state)
    nodes = list(copy)
    copy.remove(nodes)
    for node in nodes:
        node.metadata_props[STAGE] = f"{stage_of(loop)}/{STEP}/{turn}"
        for value in node.outputs:
            value.name = f"{value.name}_{turn}"
    graph.insert_before(loop, nodes)
    return made
