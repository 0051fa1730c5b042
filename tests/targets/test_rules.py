"""Every rule of lint: a planted violation is found, its node named, in the graph and inside a body; a twin is not."""

import json

import onnx
import pytest
from onnx import TensorProto as T
from onnx import helper as h

from vtp_export.errors import ArtefactError, SpecError, UnavailableError, UnknownNameError
from vtp_export.pipeline.lint import lint
from vtp_export.reports.lint import grouped
from vtp_export.targets import table
from vtp_export.targets.rules import RULES

TRT, OLD, RTX = "tensorrt-10.3", "tensorrt-8.5", "tensorrt-rtx-1.7"


def tensor(name, kind=T.FLOAT, shape=(2, 3)):
    return h.make_tensor_value_info(name, kind, shape)


def node(op, inputs, **attributes):
    outputs = attributes.pop("outputs", ["y"])
    return h.make_node(op, inputs, outputs, name="planted", **attributes)


def ints(name, *values):
    return h.make_tensor(name, T.INT64, [len(values)], values)


def branch(shape, name):
    given = h.make_node("ConstantOfShape", [f"shape_{name}"], [f"out_{name}"])
    return h.make_graph([given], name, [], [tensor(f"out_{name}", T.FLOAT, shape)], [ints(f"shape_{name}", *shape)])


def loop(carried_out=(2, 3), scan=False):
    """A body that carries one value, and stacks one if `scan`."""
    made = h.make_node("Expand", ["v", "wanted"], ["w"])
    outputs = [tensor("c2", T.BOOL, []), tensor("w", T.FLOAT, carried_out)] + ([tensor("s")] if scan else [])
    nodes = [h.make_node("Identity", ["c"], ["c2"]), made] + ([h.make_node("Identity", ["v"], ["s"])] if scan else [])
    inputs = [tensor("i", T.INT64, []), tensor("c", T.BOOL, []), tensor("v")]
    return h.make_graph(nodes, "rounds", inputs, outputs, [ints("wanted", *carried_out)])


# rule: (target, planted nodes, the same without fault, further inputs, initializers)
PLANTED = {
    "topk-sorted": (
        TRT,
        node("TopK", ["x", "k"], outputs=["v", "y"], sorted=0),
        node("TopK", ["x", "k"], outputs=["v", "y"]),
        [],
        [ints("k", 2)],
    ),
    "topk-k": (
        TRT,
        node("TopK", ["x", "k"], outputs=["v", "y"]),
        node("TopK", ["x", "k2"], outputs=["v", "y"]),
        [],
        [ints("k", 3840), ints("k2", 3839)],
    ),
    "scatternd-reduction": (
        TRT,
        node("ScatterND", ["x", "at", "u"], reduction="add"),
        node("ScatterND", ["x", "at", "u"]),
        [tensor("at", T.INT64, (1, 1)), tensor("u", T.FLOAT, (1, 3))],
        [],
    ),
    "constant-inputs": (
        TRT,
        node("ReduceSum", ["x", "axes"]),
        node("ReduceSum", ["x", "fixed"]),
        [tensor("axes", T.INT64, (1,))],
        [ints("fixed", 1)],
    ),
    "zero-point": (
        TRT,
        node("QuantizeLinear", ["x", "scale", "odd"]),
        node("QuantizeLinear", ["x", "scale", "zero"]),
        [],
        [
            h.make_tensor("scale", T.FLOAT, [], [0.1]),
            h.make_tensor("odd", T.INT8, [], [3]),
            h.make_tensor("zero", T.INT8, [], [0]),
        ],
    ),
    "resize-antialias": (
        TRT,
        node("Resize", ["x", "", "sizes"], antialias=1, mode="linear"),
        node("Resize", ["x", "", "sizes"], mode="linear"),
        [],
        [h.make_tensor("sizes", T.FLOAT, [2], [1.0, 2.0])],
    ),
    "attention-rank": (
        "tensorrt-11.4",
        node("Attention", ["q", "q", "q"], q_num_heads=1, kv_num_heads=1),
        node("Attention", ["q4", "q4", "q4"]),
        [tensor("q", T.FLOAT, (1, 2, 3)), tensor("q4", T.FLOAT, (1, 1, 2, 3))],
        [],
    ),
    "einsum": (
        TRT,
        node("Einsum", ["sq"], equation="ii->i"),
        node("Einsum", ["sq"], equation="ij->ji"),
        [tensor("sq", T.FLOAT, (3, 3))],
        [],
    ),
    "first-output-only": (
        TRT,
        node("LayerNormalization", ["x", "g"], outputs=["y", "m"]),
        node("LayerNormalization", ["x", "g"]),
        [],
        [h.make_tensor("g", T.FLOAT, [3], [1.0] * 3)],
    ),
    "loop-carried-shape": (
        TRT,
        node("Loop", ["n", "", "x"], body=loop((4, 2, 3))),
        node("Loop", ["n", "", "x"], body=loop()),
        [],
        [h.make_tensor("n", T.INT64, [], [2])],
    ),
    "loop-scan-length": (
        TRT,
        node("Loop", ["m", "", "x"], outputs=["y", "z"], body=loop(scan=True)),
        node("Loop", ["n", "", "x"], outputs=["y", "z"], body=loop(scan=True)),
        [tensor("m", T.INT64, [])],
        [h.make_tensor("n", T.INT64, [], [2])],
    ),
    "if-rank": (
        TRT,
        node("If", ["b"], then_branch=branch((2, 3), "a"), else_branch=branch((6,), "o")),
        node("If", ["b"], then_branch=branch((2, 3), "a"), else_branch=branch((3, 2), "o")),
        [tensor("b", T.BOOL, [])],
        [],
    ),
    "uint8-inside": (TRT, node("Transpose", ["u8"]), node("Transpose", ["x"]), [tensor("u8", T.UINT8)], []),
    "double": (TRT, node("Mul", ["d", "d"]), node("Mul", ["x", "x"]), [tensor("d", T.DOUBLE)], []),
    "data-dependent-shape": (TRT, node("NonZero", ["x"]), node("Abs", ["x"]), [], []),
    "loop-operator": (
        TRT,
        node("Loop", ["n", "", "x"], body=loop()),
        node("Abs", ["x"]),
        [],
        [h.make_tensor("n", T.INT64, [], [2])],
    ),
    "attention-parts": (
        "tensorrt-11.4",
        node("Attention", ["q4", "q4", "q4"], softcap=2.0),
        node("Attention", ["q4", "q4", "q4"]),
        [tensor("q4", T.FLOAT, (1, 1, 2, 3))],
        [],
    ),
    "resize-mode": (
        TRT,
        node("Resize", ["x", "", "sizes"], mode="cubic"),
        node("Resize", ["x", "", "sizes"], mode="linear"),
        [],
        [h.make_tensor("sizes", T.FLOAT, [2], [1.0, 2.0])],
    ),
    "attribute-values": (
        RTX,
        node("AveragePool", ["image"], kernel_shape=[2, 2], dilations=[1, 2]),
        node("AveragePool", ["image"], kernel_shape=[2, 2], dilations=[1, 1]),
        [tensor("image", T.FLOAT, (1, 1, 8, 8))],
        [],
    ),
    "loop-condition": (
        RTX,
        node("Loop", ["n", "", "x"], body=loop()),
        node("Loop", ["n", "yes", "x"], body=loop()),
        [],
        [h.make_tensor("n", T.INT64, [], [2]), h.make_tensor("yes", T.BOOL, [], [True])],
    ),
    "eyelike-static": (
        TRT,
        node("EyeLike", ["open"]),
        node("EyeLike", ["x"]),
        [tensor("open", T.FLOAT, ("n", 3))],
        [],
    ),
    "bfloat16-products": (
        "onnxruntime-1.32",
        node("MatMul", ["b16", "b16"]),
        node("Identity", ["b16"]),
        [tensor("b16", T.BFLOAT16, (3, 3))],
        [],
    ),
    "missing-kernels": (
        "onnxruntime-1.18",
        node("Trilu", ["flag"]),
        node("Trilu", ["x"]),
        [tensor("flag", T.BOOL, (3, 3))],
        [],
    ),
    # These bind wherever a target lists operators.
    "domain": (TRT, node("FusedGelu", ["x"], domain="com.microsoft"), node("Abs", ["x"]), [], []),
    "operator": (TRT, node("BitShift", ["u", "u"], direction="LEFT"), node("Abs", ["x"]), [tensor("u", T.UINT32)], []),
    "type": (
        TRT,
        node("CumSum", ["whole", "axis"]),
        node("CumSum", ["x", "axis"]),
        [tensor("whole", T.INT64)],
        [h.make_tensor("axis", T.INT64, [], [0])],
    ),
    "unconfirmed": (TRT, node("Mish", ["x"]), node("Abs", ["x"]), [], []),
}
NOTES = {"double", "data-dependent-shape", "loop-operator", "unconfirmed"}


def saved(folder, planted, inputs, initializers, inside, opset=20, ir=10):
    """A file with the node in its graph, or in the body of a loop around it."""
    outer, nodes, weights = [tensor("x"), *inputs], [planted], list(initializers)
    if inside:
        body_nodes = [h.make_node("Identity", ["go"], ["go_on"]), planted]
        body = h.make_graph(
            body_nodes,
            "round",
            [tensor("turn", T.INT64, []), tensor("go", T.BOOL, [])],
            [tensor("go_on", T.BOOL, [])],
            weights,
        )
        nodes, weights = (
            [h.make_node("Loop", ["count", ""], [], name="around", body=body)],
            [h.make_tensor("count", T.INT64, [], [1])],
        )
    graph = h.make_graph(nodes, "g", outer, [], weights)
    domains = [h.make_opsetid("", opset), h.make_opsetid("com.microsoft", 1)]
    path = folder / "model.onnx"
    onnx.save(h.make_model(graph, opset_imports=domains, ir_version=ir), path)
    return path


def found(path, target, rule):
    return [
        finding for finding in lint(path, [target])[0].findings if finding.rule == rule and finding.node != "around"
    ]


def test_every_rule_has_a_planted_violation():
    assert set(PLANTED) == set(RULES) | {"domain", "operator", "type", "unconfirmed"}


@pytest.mark.parametrize("inside", [False, True], ids=["graph", "body"])
@pytest.mark.parametrize("rule", PLANTED)
def test_a_planted_violation_is_found_and_its_twin_is_not(tmp_path, rule, inside):
    target, planted, clean, inputs, initializers = PLANTED[rule]
    (finding,) = found(saved(tmp_path, planted, inputs, initializers, inside), target, rule)
    assert finding.node == "planted" and finding.op == planted.op_type
    assert finding.where == ("body of around" if inside else "graph")
    assert finding.severity == ("note" if rule in NOTES else "error")
    assert finding.problem and finding.remedy
    assert found(saved(tmp_path, clean, inputs, initializers, inside), target, rule) == []


@pytest.mark.parametrize(("opset", "ir", "target", "rules"), [
    (20, 10, "onnxruntime-1.17", {"ir"}), (20, 9, "onnxruntime-1.17", set()), (21, 9, "onnxruntime-1.17", {"opset"}),
    (20, 10, TRT, set()), (21, 10, TRT, {"opset"}), (18, 8, OLD, {"opset"}), (17, 8, OLD, set()),
])  # fmt: skip
def test_opset_and_ir(tmp_path, opset, ir, target, rules):
    path = saved(tmp_path, node("Abs", ["x"]), [], [], False, opset, ir)
    assert {finding.rule for finding in lint(path, [target])[0].findings} == rules


def test_int64_is_narrowed_where_it_always_was(tmp_path):
    path = saved(tmp_path, node("Add", ["n", "n"]), [tensor("n", T.INT64)], [], False, 17, 8)
    assert lint(path, [OLD])[0].findings == ()
    path = saved(tmp_path, node("ArgMax", ["n"]), [tensor("n", T.INT64)], [], False, 17, 8)
    assert [finding.rule for finding in lint(path, [OLD])[0].findings] == ["type"]


def test_onnx_runtime_has_operators_of_its_own_and_none_that_nobody_has(tmp_path):
    own = saved(tmp_path, node("FusedGelu", ["x"], domain="com.microsoft"), [], [], False)
    assert lint(own, ["onnxruntime-1.32"])[0].findings == ()
    nobody = saved(tmp_path, node("Nonsense", ["x"]), [], [], False)
    assert [finding.rule for finding in lint(nobody, ["onnxruntime-1.32"])[0].findings] == ["operator"]


@pytest.mark.parametrize(("target", "refused"), [("onnxruntime-1.20", True), ("onnxruntime-1.23", False)])
def test_products_in_blocks_of_8_bits_take_a_runtime_that_has_them(tmp_path, target, refused):
    planted = node("MatMulNBits", ["x", "b", "s"], domain="com.microsoft", bits=8, K=3, N=3, block_size=16)
    inputs = [tensor("b", T.UINT8, (3, 1, 16)), tensor("s", T.FLOAT, (3, 1))]
    findings = found(saved(tmp_path, planted, inputs, [], False), target, "attribute-values")
    assert ["bits=8; supported: 4" in one.problem for one in findings] == [True] * refused


def test_functions_of_the_file_are_looked_into_by_their_own_names(tmp_path):
    """The body's `a` is no int64 of the graph; its attribute comes with the call; what it does wrong is found."""
    clean = h.make_node("CumSum", ["a", "axis"], ["y"], name="inside")
    clean.attribute.add(name="exclusive", type=onnx.AttributeProto.INT, ref_attr_name="exclusive")
    bad = h.make_node("Compress", ["a", "a"], ["z"], name="planted")
    domains = [h.make_opsetid("", 20), h.make_opsetid("mine", 1)]
    function = h.make_function("mine", "F", ["a", "axis"], ["y"], [clean, bad], domains[:1], ["exclusive"])
    call = h.make_node("F", ["x", "axis"], ["out"], domain="mine", exclusive=1)
    initializers = [h.make_tensor("axis", T.INT64, [], [0]), h.make_tensor("a", T.INT64, [1], [0])]
    graph = h.make_graph([call], "g", [tensor("x")], [], initializers)
    onnx.save(h.make_model(graph, opset_imports=domains, ir_version=10, functions=[function]), tmp_path / "m.onnx")
    (finding,) = lint(tmp_path / "m.onnx", [TRT])[0].findings
    assert (finding.node, finding.rule, finding.where) == ("planted", "operator", "function F")


def test_quantisation_without_a_zero_point_is_not_what_onnx_means(tmp_path):
    scale = [h.make_tensor("scale", T.FLOAT, [], [0.1])]
    (finding,) = found(saved(tmp_path, node("QuantizeLinear", ["x", "scale"]), [], scale, False), TRT, "zero-point")
    assert "gives uint8, and int8 in TensorRT" in finding.problem


def test_zero_points_are_read_however_many_there_are(tmp_path):
    many = [h.make_tensor("scale", T.FLOAT, [100], [0.1] * 100), h.make_tensor("odd", T.INT8, [100], [0] * 99 + [7])]
    planted = node("DequantizeLinear", ["w", "scale", "odd"], axis=0)
    assert found(saved(tmp_path, planted, [tensor("w", T.INT8, (100, 3))], many, False), TRT, "zero-point")


def test_a_cast_to_what_is_not_there(tmp_path):
    (finding,) = found(saved(tmp_path, node("Cast", ["x"], to=T.INT16), [], [], False), TRT, "type")
    assert "Cast to int16" in finding.problem


def test_outputs_that_are_left_out_are_none(tmp_path):
    planted = node("LayerNormalization", ["x", "g"], outputs=["y", "", ""])
    weights = [h.make_tensor("g", T.FLOAT, [3], [1.0] * 3)]
    assert found(saved(tmp_path, planted, [], weights, False), TRT, "first-output-only") == []


def test_findings_that_say_the_same_are_one_row(tmp_path):
    nodes = [h.make_node("BitShift", ["u", "u"], [f"y{i}"], name=f"n{i}", direction="LEFT") for i in range(3)]
    graph = h.make_graph(nodes, "g", [tensor("u", T.UINT32)], [])
    onnx.save(h.make_model(graph, opset_imports=[h.make_opsetid("", 20)], ir_version=10), tmp_path / "m.onnx")
    (row,) = grouped(lint(tmp_path / "m.onnx", [TRT])[0].findings)
    assert (row.count, row.first, row.severity) == (3, "n0", "error")


@pytest.mark.parametrize("name", table.names())
def test_every_target_can_be_read_and_says_where_it_is_from(name):
    target = table.load(name)
    assert target.summary and target.sources
    assert target.opset[0] < target.opset[1]
    assert set(target.rules) <= set(RULES)
    assert target.rules
    if target.runtime == "tensorrt":
        assert {"MatMul", "Softmax", "TopK", "Loop", "Where"} <= set(target.operators)
        assert not {"Compress", "Unique", "DynamicQuantizeLinear", "MatMulInteger"} & set(target.operators)


def test_what_came_later_is_not_in_earlier_targets():
    assert "Attention" not in table.load("tensorrt-10.13").operators
    assert "Attention" in table.load("tensorrt-10.16").operators
    assert "LayerNormalization" not in table.load(OLD).operators
    assert "Gelu" in table.load(TRT).unconfirmed and "STFT" not in table.load(TRT).operators
    assert "Swish" in table.load("tensorrt-11.4").operators and "int64" not in table.load(TRT).operators["Pow"]
    assert "einsum" in table.load(TRT).rules and "einsum" not in table.load("tensorrt-10.13").rules


def test_an_artefact_is_linted_by_its_file(artefact):
    assert all(report.passed for report in lint(artefact, [TRT, "tensorrt-11.4", "onnxruntime-1.18"]))


def test_a_damaged_artefact_is_refused(artefact, tmp_path):
    import shutil

    shutil.copytree(artefact, tmp_path / "copy")
    with (tmp_path / "copy" / "model.onnx").open("ab") as file:
        file.write(b"x")
    with pytest.raises(ArtefactError, match=r"has .* bytes"):
        lint(tmp_path / "copy", [TRT])


def test_what_is_refused(tmp_path, monkeypatch):
    with pytest.raises(UnknownNameError, match=r"no target named 'tensorrt-10.2'; did you mean 'tensorrt-10"):
        lint(tmp_path, ["tensorrt-10.2"])
    with pytest.raises(ArtefactError, match="no file"):
        lint(tmp_path / "nothing.onnx")
    (tmp_path / "bad.onnx").write_bytes(b"garbage")
    with pytest.raises(ArtefactError, match="is not an ONNX file"):
        lint(tmp_path / "bad.onnx")
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(UnavailableError, match=r"pip install 'onnx>="):
        lint(tmp_path / "bad.onnx")


@pytest.mark.parametrize(
    ("name", "words"),
    [("dla", "DLA, .* is not supported"), ("jetson-thor", "Thor has no target of its own"), ("fp8", "fp8 is not supp")],
)
def test_what_is_not_supported_is_said_plainly(tmp_path, name, words):
    with pytest.raises(SpecError, match=words):
        table.load(name)


def test_numbers_that_nobody_here_proves_get_a_note(tmp_path):
    fp8 = h.make_tensor("scale", T.FLOAT8E4M3FN, (1,), [1.0])
    cast, wide = h.make_node("Cast", ["scale"], ["y"], to=T.FLOAT), h.make_tensor_value_info("y", T.FLOAT, (1,))
    graph = h.make_graph([cast], "g", [], [wide], [fp8])
    path = tmp_path / "fp8.onnx"
    onnx.save(h.make_model(graph, opset_imports=[h.make_opsetid("", 20)], ir_version=10), path)
    (report,) = lint(path, ["tensorrt-10.15"])
    (note,) = [one for one in report.findings if one.rule == "unsupported"]
    assert (note.severity, note.problem) == ("note", "float8e4m3fn: this package neither builds nor proves such graphs")


def test_weights_are_not_read(tmp_path):
    """A file whose external weights are missing is linted all the same."""
    big = onnx.TensorProto(name="w", data_type=T.FLOAT, dims=[3, 4], data_location=T.EXTERNAL)
    big.external_data.add(key="location", value="absent.data")
    graph = h.make_graph(
        [h.make_node("MatMul", ["x", "w"], ["y"])], "g", [tensor("x")], [tensor("y", T.FLOAT, (2, 4))], [big]
    )
    onnx.save(h.make_model(graph, opset_imports=[h.make_opsetid("", 20)], ir_version=10), tmp_path / "m.onnx")
    assert lint(tmp_path / "m.onnx", [TRT])[0].findings == ()


@pytest.mark.parametrize(("arguments", "code", "said"), [
    (["--target", TRT], 0, TRT), (["--target", "onnxruntime-1.17"], 1, "IR version 10"), ([], 0, "name a --target"),
    (["--target", "nonsense"], 2, ""),
])  # fmt: skip
def test_the_command(artefact, arguments, code, said):
    from typer.testing import CliRunner

    from vtp_export.cli import app

    result = CliRunner().invoke(app, ["lint", str(artefact), *arguments])
    assert (result.exit_code if not isinstance(result.exception, UnknownNameError) else 2) == code
    assert said in result.output


def test_the_command_in_json(artefact):
    from typer.testing import CliRunner

    from vtp_export.cli import app

    rows = json.loads(CliRunner().invoke(app, ["lint", str(artefact), "-t", "onnxruntime-1.17", "--json"]).output)[
        "targets"
    ]
    assert rows[0]["passed"] is False and rows[0]["findings"][0]["rule"] == "ir"
