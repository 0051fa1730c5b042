"""A file held against a target: its version, and every node by the tables and by the rules in force."""

from collections.abc import Iterator
from dataclasses import dataclass

from vtp_export.targets.graph import Model, Node
from vtp_export.targets.rules import RULES, Told, input_of
from vtp_export.targets.table import Target

DATA_INPUT = {"Where": 1, "Loop": None, "If": None, "Scan": None, "Constant": None, "ConstantOfShape": None}
"""Which input the type table speaks of, where it is not the first; None for none."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What is wrong with a node, or with the file as a whole (node "").

    severity: "error" where the target will not take it, "note" where it takes it but the user should know.
    """

    rule: str
    severity: str
    node: str
    op: str
    where: str
    problem: str
    remedy: str


def check(model: Model, target: Target) -> list[Finding]:
    """Everything in a file that a target would refuse, or treat otherwise than it reads."""
    found = list(_of_file(model, target))
    for node in model.nodes:
        for rule, (severity, problem, remedy) in _of_node(node, target):
            found.append(
                Finding(
                    rule=rule,
                    severity=severity,
                    node=node.name,
                    op=node.op,
                    where=node.where,
                    problem=problem,
                    remedy=remedy,
                )
            )
    return found


def _of_file(model: Model, target: Target) -> Iterator[Finding]:
    low, high = target.opset
    if not low <= model.opset <= high:
        problem = f"opset {model.opset}; {target.name} takes {low} to {high}"
        yield Finding(
            rule="opset",
            severity="error",
            node="",
            op="",
            where="file",
            problem=problem,
            remedy="choose a newer runtime, or convert the file",
        )
    dtypes = {value.dtype for node in model.nodes for value in node.inputs if value is not None and value.dtype}
    narrow = [dtype for dtype in sorted(dtypes) if dtype.startswith(UNPROVED)]
    if narrow:
        problem = f"{', '.join(narrow)}: this package neither builds nor proves such graphs"
        yield Finding(
            rule="unsupported",
            severity="note",
            node="",
            op="",
            where="file",
            problem=problem,
            remedy="export --precision fp16 or int8",
        )
    if target.ir is not None and model.ir > target.ir:
        problem = f"IR version {model.ir}; {target.name} takes up to {target.ir}"
        yield Finding(
            rule="ir", severity="error", node="", op="", where="file", problem=problem, remedy="choose a newer runtime"
        )


def _of_node(node: Node, target: Target) -> Iterator[tuple[str, Told]]:
    if node.local:
        return  # its body is looked at by itself
    if node.domain and node.domain not in target.domains:
        where = f"operator of the domain {node.domain}, which {target.name} does not know"
        remedy = REMEDIES.get(node.op, "export without an optimiser that fuses, or write it in standard operators")
        yield "domain", ("error", where, remedy)
        return
    if target.operators is None and not node.standard and not node.domain:
        yield "operator", ("error", f"ONNX has no operator {node.op}", "write it in standard operators")
    if target.operators is not None and not node.domain:
        if node.op not in target.operators:
            remedy = REMEDIES.get(node.op, "write it with operators that are in the table")
            yield "operator", ("error", f"{node.op} is not supported by {target.name}", remedy)
            return
        if node.op in target.unconfirmed:
            yield (
                "unconfirmed",
                ("note", f"whether {target.name} has {node.op} is not confirmed", "try it on the target"),
            )
        yield from (("type", told) for told in _types(node, target))
    for name, settings in target.rules.items():
        yield from ((name, told) for told in RULES[name](node, settings))


UNPROVED = ("float8", "float4")
"""Beginnings of the types that a runtime may take, and this package does not know."""

REMEDIES = {
    "DynamicQuantizeLinear": "quantise with Q/DQ; export does with --activations static",
    "MatMulInteger": "quantise with Q/DQ; export does with --activations static",
    "MatMulNBits": "export with --activations static (Q/DQ)",
    "LayerNormalization": "it is in the tables of TensorRT 10: use JetPack 6.1 or later",
    "Gelu": "write it with Erf",
}


def _types(node: Node, target: Target) -> Iterator[Told]:
    assert target.operators is not None
    place = DATA_INPUT.get(node.op, 0)
    value = input_of(node, place) if place is not None else None
    if value is not None and _refused(node.op, value.dtype, target):
        allowed = ", ".join(sorted(target.operators[node.op]))
        yield "error", f"{node.op} of {value.dtype}; {target.name} takes {allowed}", "cast its input"
    made = node.outputs[0].dtype if node.op == "Cast" and node.outputs else None
    if _refused("Cast", made, target):
        yield "error", f"Cast to {made}, which {target.name} has not", "cast to another type"


def _refused(operator: str, dtype: str | None, target: Target) -> bool:
    """Whether a table leaves a type out. An unknown type is not judged; float64 has a rule of its own."""
    assert target.operators is not None
    return dtype not in (None, "float64") and target.narrowed.get(dtype, dtype) not in target.operators[operator]
