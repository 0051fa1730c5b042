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


def whole(folder, name, planted, inputs, initializers, opset):
    """A file with one node whose outputs are those of the graph, which the parser wants."""
    outputs = [h.make_empty_tensor_value_info(output) for output in planted.output]
    domains = [h.make_opsetid("", opset), h.make_opsetid("com.microsoft", 1)]
    graph = h.make_graph([planted], "g", [tensor("x"), *inputs], outputs, initializers)
    model = h.make_model(graph, opset_imports=domains, ir_version=10)
    with_types = [value if value.type.HasField("tensor_type") else tensor(value.name) for value in types_of(model)]
    del graph.output[:]
    graph.output.extend(with_types)
    onnx.save(h.make_model(graph, opset_imports=domains, ir_version=10), folder / f"{name}.onnx")


NOT_OF_THIS = {
    "topk-sorted": "taken: the values come in order all the same",
    "topk-k": "taken in a graph of one node; the bound is documented, and no file of ours comes near it",
    "resize-mode": "taken",
    "einsum": "taken",
    "loop-operator": "of ONNX Runtime's provider",
    "bfloat16-products": "of ONNX Runtime",
    "missing-kernels": "of ONNX Runtime",
    "unconfirmed": "of one version of TensorRT",
    "type": "CumSum of whole numbers: taken",
    "double": "a note: taken, as float32",
    "attention-rank": "whether it builds hangs on the sizes of heads",
    "operator": "uint32, which nothing takes, not even in the twin",
}
"""Planted violations that are none here, or cannot be told by one node."""


def test_what_is_planted_is_what_the_library_refuses(tmp_path):
    """The faults of `test_rules.py`, of which the table of this target says the same as the library."""
    expected = {}
    for rule, (_, planted, clean, inputs, initializers) in PLANTED.items():
        if rule not in NOT_OF_THIS:
            for kind, one in (("planted", planted), ("clean", clean)):
                opset = 23 if one.op_type == "Attention" else 20
                whole(tmp_path, f"{rule}-{kind}", one, inputs, initializers, opset)
                problems = check(read(tmp_path / f"{rule}-{kind}.onnx"), table.load(TARGET))
                expected[f"{rule}-{kind}"] = any(finding.severity == "error" for finding in problems)
    said = verdicts(tmp_path, [name for name in expected if not name.startswith("attention")])
    assert {name: words is not None for name, words in said.items()} == expected
    assert {rule for rule in PLANTED if expected.get(f"{rule}-planted")} >= {"scatternd-reduction", "if-rank", "domain"}


# --- what `lint` makes of it ------------------------------------------------------------------------------------------


def of_parser(path):
    return [finding for finding in lint(path, [TARGET])[0].findings if finding.rule == "parser"]


def test_an_artefact_is_taken_by_the_parser(artefact):
    assert lint(artefact, [TARGET])[0].findings == ()


def test_what_the_parser_refuses_is_told_in_its_words(tmp_path):
    whole(tmp_path, "m", node("Resize", ["x", "", "s"], antialias=1, mode="linear"), [], [
        h.make_tensor("s", T.FLOAT, [2], [1.0, 2.0])], 20)  # fmt: skip
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
