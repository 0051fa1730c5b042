"""An exported ONNX graph without what it does not need: by passes that are named, each linear in the nodes.

The exporter's own optimiser finds the same among many rules that match nothing here, in three to five times the time of
the whole export.
"""

from functools import partial
from typing import Any

import numpy as np
import onnx_ir as ir
import onnx_ir.passes.common as passes
import torch
from onnxscript.optimizer import fold_constants
from onnxscript.rewriter import RewritePass, RewriteRule, pattern
from onnxscript.rewriter.rules import common as rules

from vtp_export.backends._named import name_nodes
from vtp_export.backends._unfused import keep_apart
from vtp_export.backends._unrolled import unroll

NOTHING: Any = pattern.Constant(0, rel_tol=0, abs_tol=0)
"""The library's own rule takes a number up to 1e-8 for 0: the floor under a norm would be gone, and 0 / 0 be left."""

RULES = (
    rules.materialize_reshape_shape_rule,
    rules.reshape_reshape_rule,
    rules.squeeze_reshape_1d_rule,
    rules.unsqueeze_unsqueeze_rule,
    rules.transpose_transpose_rule,
    RewriteRule(lambda op, x: op.Add(x, NOTHING), lambda op, x: op.Identity(x), name="add nothing"),
)
"""What shapes with a batch in them, and decomposed products, leave behind."""

LIFT = (
    passes.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
    passes.LiftSubgraphInitializersToMainGraphPass(),
)


def simplify(model: ir.Model, loops: bool) -> None:
    """Fold constants, drop what is not used, and say once what is said twice; constants become initializers.

    Args:
        model: as the exporter gives it.
        loops: whether it may have the loop operator; otherwise rounds are written out.
    """
    passes.InlinePass()(model)
    if not loops:
        fold_constants(model, onnx_shape_inference=True)
        passes.RemoveUnusedNodesPass()(model)
        for lift in LIFT:
            lift(model)
        unroll(model)
    for last in (False, True):  # a shape that has become a constant lets more be folded
        fold_constants(model, onnx_shape_inference=True)
        if not last:
            RewritePass(RULES)(model)
        passes.RemoveUnusedNodesPass()(model)
    for step in (
        passes.RemoveUnusedOpsetsPass(),
        *LIFT,
        passes.DeduplicateInitializersPass(),
        passes.CommonSubexpressionEliminationPass(),
        keep_apart,
        passes.OutputFixPass(),
        passes.NameFixPass(),
    ):
        step(model)
    name_nodes(model)
    passes.ClearMetadataAndDocStringPass()(model)  # traces of calls, with paths of the machine that exports
    for value in model.graph.initializers.values():
        if isinstance(value.const_value, ir.Tensor):
            value.const_value = _in_rows(value.const_value)


def _in_rows(tensor: ir.Tensor[Any]) -> ir.Tensor[Any] | ir.LazyTensor:
    """A weight that folding has transposed is a view, and would be written number by number: copied when it is."""
    view = tensor.raw
    if not isinstance(view, np.ndarray) or view.flags.c_contiguous:
        return tensor
    copied = partial(_copied, view, tensor.dtype)
    return ir.LazyTensor(copied, dtype=tensor.dtype, shape=tensor.shape, name=tensor.name)


def _copied(view: np.ndarray, dtype: ir.DataType) -> ir.Tensor[Any]:
    bits = torch.from_numpy(view.view(f"u{view.itemsize}"))  # torch copies in a third of the time that NumPy takes
    return ir.Tensor(bits.contiguous().numpy().view(view.dtype), dtype)
