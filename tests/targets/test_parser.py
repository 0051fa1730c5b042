"""The table of TensorRT for RTX against its own parser and builder, on ONNX's tests of every operator."""

import functools
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto as T
from onnx import helper as h

from tests.targets.test_rules import PLANTED, ints, node, saved, tensor
from vtp_export.backends import tensorrt_rtx
from vtp_export.errors import UnavailableError
from vtp_export.pipeline.lint import lint
from vtp_export.targets import table
from vtp_export.targets.check import check
from vtp_export.targets.graph import read

ROOT = Path(__file__).parent.parent.parent
TARGET = "tensorrt-rtx-1.7"
SAMPLE = 2
"""Cases of each operator in `make test`."""

pytestmark = pytest.mark.skipif(
    tensorrt_rtx.Backend().missing_to_build() is not None, reason=str(tensorrt_rtx.Backend().missing_to_build())
)

EXPLAINED = {
    "test_attention_": "whether it builds hangs on the sizes of heads; our files have none (opset 20)",
    "test_bernoulli_expanded": "the type of what RandomUniformLike makes is an attribute, and not in the table",
    "test_equal_uint8": "it compares them, and does little else with them",
    "test_identity_opt": "a value that is optional has no type for the table",
    "test_matmul_1d_3d": "a vector times a batch of matrices: shapes are not in the table",
    "test_pow_types_float32_uint": "of the exponent's type the table knows nothing",
    "test_tensorscatter_3d": "a cache of rank 3: ranks are not in the table",
}
"""Cases, by the beginning of their names, of which table and library think otherwise, and why the table stays."""


@functools.cache
def cases():
    """Files of ONNX's tests of nodes that are of an opset of the target, by name."""
    from onnx.backend.test.case.node import collect_testcases

    low, high = table.load(TARGET).opset
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = collect_testcases(None)
    return {
        case.name: case.model
        for case in found
        if case.model.opset_import[0].domain == "" and low <= case.model.opset_import[0].version <= high
    }


def sample():
    """The first few of each operator."""
    seen = {}
    for name, model in cases().items():
        seen.setdefault(model.graph.node[0].op_type, []).append(name)
    return [name for names in seen.values() for name in names[:SAMPLE]]


def verdicts(folder, names):
    """What the parser says of each file, and the builder of those that are named; None where they take it."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.targets.verdicts", str(folder), *names]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    child = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, check=False)
    said = dict(map(json.loads, child.stdout.splitlines()))
    assert child.returncode == 0, (list(said)[-1:], child.stderr[-500:])
    return said


def compared(folder, names):
    """Cases of which table and library think otherwise."""
    told = {}
    for name in names:
        onnx.save(cases()[name], folder / f"{name}.onnx")
        findings = check(read(folder / f"{name}.onnx"), table.load(TARGET))
        told[name] = [finding.problem for finding in findings if finding.severity == "error"]
    said = verdicts(folder, [name for name, problems in told.items() if problems])
    return {name: (told[name], said[name]) for name in names if bool(told[name]) != (said[name] is not None)}


def explained(name):
    return any(name.startswith(beginning) for beginning in EXPLAINED)


@pytest.mark.whole
def test_the_table_says_of_every_operator_what_the_library_says(tmp_path):
    names = sample()
    assert len({cases()[name].graph.node[0].op_type for name in names}) > 150
    found = compared(tmp_path, names)
    assert {name: what for name, what in found.items() if not explained(name)} == {}


@pytest.mark.whole
def test_the_table_says_of_every_case_what_the_library_says(tmp_path):
    found = compared(tmp_path, list(cases()))
    assert {name: what for name, what in found.items() if not explained(name)} == {}
    assert [one for one in EXPLAINED if not any(name.startswith(one) for name in found)] == [], "no longer needed"


def types_of(model):
    """Outputs of a graph of one node, as ONNX infers them."""
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=False)
    return list(inferred.graph.output)


def whole(folder, name, planted, inputs, initializers, opset=20):
    """A file with one node whose outputs are those of the graph, which the parser wants."""
    outputs = [h.make_empty_tensor_value_info(output) for output in planted.output]
    domains = [h.make_opsetid("", opset), h.make_opsetid("com.microsoft", 1)]
    graph = h.make_graph([planted], "g", [tensor("x"), *inputs], outputs, initializers)
    model = h.make_model(graph, opset_imports=domains, ir_version=10)
    with_types = [value if value.type.HasField("tensor_type") else tensor(value.name) for value in types_of(model)]
    del graph.output[:]
    graph.output.extend(with_types)
    onnx.save(h.make_model(graph, opset_imports=domains, ir_version=10), folder / f"{name}.onnx")


TAKEN = {
    "topk-sorted",
    "resize-mode",
    "einsum",
    "missing-kernels",
    "bfloat16-products",
    "unconfirmed",
    "type",
    "double",
}
"""Planted violations of other targets, which this one takes."""

NOT_TOLD_BY_ONE_NODE = {
    "topk-k": "its input has three entries; see below",
    "loop-operator": "a note of ONNX Runtime's provider, and its loop is given no condition: that is a rule of its own",
    "attention-rank": "whether it builds hangs on the sizes of heads, and the builder may die of it",
    "attention-parts": "as before",
    "operator": "uint32, which nothing takes, not even in the twin",
}


def test_what_is_planted_is_what_the_library_refuses(tmp_path):
    """The faults of `test_rules.py`: table, parser and builder say the same of each, and of its twin."""
    expected = {}
    for rule, (_, planted, clean, inputs, initializers) in PLANTED.items():
        if rule not in NOT_TOLD_BY_ONE_NODE:
            for kind, one in (("planted", planted), ("clean", clean)):
                whole(tmp_path, f"{rule}-{kind}", one, inputs, initializers)
                problems = check(read(tmp_path / f"{rule}-{kind}.onnx"), table.load(TARGET))
                expected[f"{rule}-{kind}"] = any(finding.severity == "error" for finding in problems)
    assert {name: words is not None for name, words in verdicts(tmp_path, expected).items()} == expected
    refused = {name.removesuffix("-planted") for name, error in expected.items() if error and name.endswith("-planted")}
    assert refused == set(PLANTED) - TAKEN - set(NOT_TOLD_BY_ONE_NODE)


def test_the_largest_k_is_the_builders(tmp_path):
    expected = {}
    for count in (3840, 3841):
        planted = node("TopK", ["long", "k"], outputs=["v", "y"])
        whole(tmp_path, f"k{count}", planted, [tensor("long", T.FLOAT, (1, 6000))], [ints("k", count)])
        findings = check(read(tmp_path / f"k{count}.onnx"), table.load(TARGET))
        expected[f"k{count}"] = [finding.rule for finding in findings] == ["topk-k"]
    said = verdicts(tmp_path, expected)
    assert {name: words is not None for name, words in said.items()} == expected == {"k3840": False, "k3841": True}
    assert "K exceeds the maximum value allowed (3840)" in said["k3841"]


# --- what `lint` makes of it ------------------------------------------------------------------------------------------


def of_parser(path):
    return [finding for finding in lint(path, [TARGET])[0].findings if finding.rule == "parser"]


def test_an_artefact_is_taken_by_the_parser(artefact):
    assert lint(artefact, [TARGET])[0].findings == ()


def test_what_the_parser_refuses_is_told_in_its_words(tmp_path):
    whole(tmp_path, "m", node("Resize", ["x", "", "s"], antialias=1, mode="linear"), [], [
        h.make_tensor("s", T.FLOAT, [2], [1.0, 2.0])])  # fmt: skip
    (finding,) = of_parser(tmp_path / "m.onnx")
    assert (finding.severity, finding.node, finding.op) == ("error", "planted", "Resize")
    assert "Antialiasing is not supported" in finding.problem


def test_a_file_that_the_parser_dies_of_is_a_finding(tmp_path):
    path = saved(tmp_path, node("TopK", ["x", "k"], outputs=["v", "y"]), [], [ints("k", 2)], True)
    (finding,) = of_parser(path)
    assert (finding.severity, finding.where, finding.problem) == (
        "error",
        "file",
        "the parser died of this file: SIGSEGV",
    )


def test_without_the_library_the_table_alone_is_asked_and_that_is_said(artefact, monkeypatch):
    def absent():
        raise UnavailableError("TensorRT for RTX is not installed: pip install 'it'")

    monkeypatch.setattr("vtp_export.backends._tensorrt_judge.library", absent)
    (report,) = lint(artefact, [TARGET])
    assert report.passed
    (finding,) = report.findings
    assert finding.problem == "its parser was not asked: TensorRT for RTX is not installed: pip install 'it'"


def test_weights_that_are_not_there_are_no_fault_of_the_graph(tmp_path):
    weight = h.make_tensor("w", T.FLOAT, [2, 3], bytes(24), raw=True)
    graph = h.make_graph([node("Add", ["x", "w"])], "g", [tensor("x")], [tensor("y")], [weight])
    model = h.make_model(graph, opset_imports=[h.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0)
    assert of_parser(tmp_path / "m.onnx") == []
    (tmp_path / "m.data").unlink()
    (finding,) = of_parser(tmp_path / "m.onnx")
    assert (finding.severity, finding.remedy) == ("note", "put m.data beside the file")
