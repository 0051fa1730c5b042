"""What the passes over an exported ONNX graph leave."""

import io

import numpy as np
import onnx_ir as ir
import pytest

from vtp_export.backends._simplified import simplify

TRANSPOSED = """<ir_version: 10, opset_import: ["": 20]>
agraph (KIND[1, 3] x) => (KIND[1, 2] y) <KIND[2, 3] w = {1, 2, 3, 4, 5, 6}> {
    t = Transpose <perm = [1, 0]> (w)
    y = MatMul (x, t)
}"""


@pytest.mark.parametrize("kind", ["float", "float16", "bfloat16"])
def test_a_weight_that_folding_transposed_is_written_in_rows(kind):
    model = ir.from_onnx_text(TRANSPOSED.replace("KIND", kind))
    weight = model.graph.initializers["w"]
    weight.const_value = ir.Tensor(np.arange(1, 7).reshape(2, 3).astype(weight.dtype.numpy()), name="w")
    simplify(model, loops=True)
    assert [node.op_type for node in model.graph] == ["MatMul"]
    (weight,) = (value.const_value for value in model.graph.initializers.values())
    expected = np.array([[1, 4], [2, 5], [3, 6]], weight.dtype.numpy())
    assert weight.shape == expected.shape and np.array_equal(weight.numpy(), expected)
    assert weight.numpy().flags.c_contiguous  # a view would be written number by number
    file = io.BytesIO()
    weight.tofile(file)
    assert file.getvalue() == weight.tobytes() == expected.tobytes()
