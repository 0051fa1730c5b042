"""Names of nodes say where in the model they stand, each its own, and nothing else depends on them."""

import onnx
import pytest

from vtp_export.backends import _simplified
from vtp_export.pipeline.export import export

STAGES = {
    "tower/embeddings/patch_embedding/Conv",
    "tower/encoder/layers/1/self_attn/q_proj/MatMul",
    "tower/encoder/layers/1/mlp/fc2/MatMul",
    "projector/linear_1/MatMul",
    "pruner/TopK",
    "graph/GatherElements",
}


def nodes(graph):
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from nodes(attribute.g)


@pytest.mark.parametrize(
    ("changes", "steps"),
    [
        pytest.param({}, {"pruner/step/ArgMax"}, marks=pytest.mark.whole),
        pytest.param(
            {"loop_free": True, "signals": True},
            {f"pruner/step/{i}/ArgMax" for i in range(8)},
            marks=pytest.mark.whole,
        ),
    ],
)
def test_names_say_where_in_the_model_a_node_stands(small_llava, tmp_path, changes, steps):
    export(small_llava, tmp_path / "a", keep=8, golden=0, **changes)
    names = [node.name for node in nodes(onnx.load(tmp_path / "a" / "model.onnx").graph)]
    assert len(set(names)) == len(names)
    assert set(names) >= STAGES | steps
    assert {name.partition("/")[0] for name in names} == {"tower", "projector", "pruner", "graph"}


@pytest.mark.whole
def test_nothing_but_names_is_changed(small_llava, tmp_path, monkeypatch):
    export(small_llava, tmp_path / "named", keep=8, golden=0)
    monkeypatch.setattr(_simplified, "name_nodes", lambda model: None)
    export(small_llava, tmp_path / "plain", keep=8, golden=0)
    named, plain = (onnx.load(tmp_path / name / "model.onnx") for name in ("named", "plain"))
    assert [node.name for node in nodes(named.graph)] != [node.name for node in nodes(plain.graph)]
    for model in (named, plain):
        for node in nodes(model.graph):
            node.name = ""
    assert named == plain
