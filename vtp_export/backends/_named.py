"""Names of nodes that say where in the model they stand, so that a profile, or a viewer of graphs, can be read.

`tower/encoder/layers/3/self_attn/q_proj/MatMul` is in the query of the fourth block, `pruner/step/ArgMax` in the rounds
of a greedy method, `projector/linear_1/MatMul` in the projector; `graph/GatherElements` gathers what was kept.
"""

import ast
from collections import Counter
from collections.abc import Iterator

import onnx_ir as ir

SCOPES = "pkg.torch.onnx.name_scopes"
"""Under this name the exporter says in which modules, from the outermost on, and for which call a node was made."""

STAGE = "vtp_export.stage"
"""Under this one a stage is kept that is known better."""

WRAPPERS = ("pruned.", "frontend.")
"""Modules around others that say nothing."""

ROOT, STEP = "graph", "step"


def stage_of(node: ir.Node, around: str = ROOT) -> str:
    """Where a node stands.

    Args:
        node: as the exporter made it; of one that a pass has made nothing is known.
        around: where the node whose body it is in stands.
    """
    if (known := node.metadata_props.get(STAGE)) is not None:
        return known
    told = node.metadata_props.get(SCOPES)
    modules = ast.literal_eval(told)[:-1] if told else []
    path = modules[-1] if modules else ""
    if not path.replace(".", "").replace("_", "").isalnum() or path.startswith("_"):
        return around
    for wrapper in WRAPPERS:
        path = path.removeprefix(wrapper)
    return path.replace(".", "/")


def name_nodes(model: ir.Model) -> None:
    """Name all nodes, each differently from any other, also in bodies of loops."""
    used: Counter[str] = Counter()
    for node, around in _nodes(model.graph, ROOT):
        name = f"{stage_of(node, around)}/{node.op_type}"
        node.name = name if not used[name] else f"{name}_{used[name]}"
        used[name] += 1


def _nodes(graph: ir.Graph, around: str) -> Iterator[tuple[ir.Node, str]]:
    for node in graph:
        yield node, around
        for attribute in node.attributes.values():
            if attribute.type == ir.AttributeType.GRAPH:
                yield from _nodes(attribute.as_graph(), f"{stage_of(node, around)}/{STEP}")
