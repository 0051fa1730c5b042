"""What the passes over an exported ONNX graph leave."""

import io

import numpy as np
import onnx_ir as ir
import onnxruntime
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


FLOORED = """<ir_version: 10, opset_import: ["": 20]>
agraph (float[1, 3] x) => (float[1, 3] y) <float floor = {FLOOR}> {
    y = Add (x, floor)
}"""


@pytest.mark.parametrize(("floor", "left"), [("1e-8", ["Add"]), ("0.0", ["Identity"])])
def test_a_small_number_is_not_nothing(floor, left):
    """A zero token would be divided by zero: 0 / (0 + 1e-8) is 0, and 0 / 0 is no number."""
    model = ir.from_onnx_text(FLOORED.replace("FLOOR", floor))
    simplify(model, loops=True)
    assert [node.op_type for node in model.graph] == left


REDUCED = """<ir_version: 10, opset_import: ["": 20]>
agraph (float[b, 4, 3] x) => (float[R] y)
<int64[1] axes = {AXIS}, float[SIZE] vector = {1, 2, 3, 4}, float two = {2}> {
    s = REDUCE <keepdims = KEEP> (x, axes)
    t = Mul (s, two)
    y = Sub (t, CONSTANT)
}"""


def reduced(reduction="ReduceSum", axis="2", keep=0, constant="vector"):
    text = REDUCED.replace("REDUCE ", f"{reduction} ").replace("AXIS", axis).replace("KEEP", str(keep))
    text = (
        text.replace("CONSTANT", constant)
        .replace("SIZE", "4, 1" if keep else "4")
        .replace("R]", "b, 4, 1]" * keep or "b, 4]")
    )
    return ir.from_onnx_text(text)


def ran(model, pixels):
    session = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString())
    return session.run(None, {"x": pixels})[0]


@pytest.mark.parametrize("reduction", ["ReduceSum", "ReduceMax", "ReduceL2"])
@pytest.mark.parametrize("axis", ["2", "-1"])
@pytest.mark.parametrize(("keep", "inserted"), [(0, "Squeeze"), (1, "Unsqueeze")])
def test_a_vector_of_constants_stays_outside_of_the_sum_before(reduction, axis, keep, inserted):
    """For OpenVINO, which reads it by the image: `_unfused.py`."""
    pixels = np.random.default_rng(0).random((2, 4, 3), dtype=np.float32)
    model, before = reduced(reduction, axis, keep), ran(reduced(reduction, axis, keep), pixels)
    simplify(model, loops=True)
    assert [node.op_type for node in model.graph] == [reduction, inserted, "Mul", "Sub"]
    assert np.array_equal(ran(model, pixels), before)


@pytest.mark.parametrize("other", [{"constant": "two"}, {"axis": "1"}])
def test_other_sums_are_left_alone(other):
    model = reduced(**other)
    simplify(model, loops=True)
    assert [node.op_type for node in model.graph] == ["ReduceSum", "Mul", "Sub"]
