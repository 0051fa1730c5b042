"""`validate --bisect` names the part where a runtime leaves the graph, and none where it does not."""

import copy
import re

import pytest
import torch

from tests.laws.checkpoints import clip_vision_model as checkpoints
from vtp_export import rooms
from vtp_export.cli import main
from vtp_export.errors import UnavailableError
from vtp_export.graphs.assembly import assemble, load_model
from vtp_export.graphs.parts import Parts, part_by_part, signals_in
from vtp_export.parity.parts import Bisection, Part
from vtp_export.pipeline import validate as module
from vtp_export.pipeline.export import export
from vtp_export.pipeline.validate import validate


@pytest.fixture(scope="module")
def made(small_llava, tmp_path_factory):
    out = tmp_path_factory.mktemp("bisection") / "a"
    export(small_llava, out, keep=8, formats=("torchscript",), golden=0)
    return out


def the_embedding(graph):
    graph.frontend.tower.pre_layrnorm.bias[0] += 0.01


def a_block(graph):
    graph.frontend.tower.encoder.layers[1].mlp.fc2.bias[0] += 0.01


def the_projector(graph):
    graph.frontend.projector.linear_2.weight[0] *= 1.01


def the_complexity(graph):
    graph.pruner.config = type(graph.pruner.config)(**{**vars(graph.pruner.config), "center": False})


def the_gather(graph):
    true = graph.finish
    graph.finish = lambda *given: (true(*given)[0].roll(1, 1), *true(*given)[1:])


FAULTS = {
    the_embedding: "embedding",
    a_block: "block 2",
    the_projector: "signal projected",
    the_complexity: "complexity",
    the_gather: "gather and projection",
}


def planted(monkeypatch, fault):
    true = module.built

    def built(backend, parts, *rest):
        faulty = copy.deepcopy(parts)
        with torch.no_grad():
            fault(faulty.pruned)
        return true(backend, faulty, *rest)

    monkeypatch.setattr(module, "built", built)


@pytest.mark.parametrize("fault", FAULTS)
def test_the_part_that_is_wrong_is_named_and_none_before_or_after(made, monkeypatch, fault):
    """A block that is off leaves those after it right: each is judged by what it was given."""
    planted(monkeypatch, fault)
    (bisection,) = validate(made, benchmark="shapes", limit=2, bisect=True).bisections
    assert bisection.first.name == FAULTS[fault]
    if fault is not the_complexity:  # by which tokens are chosen
        assert [part.name for part in bisection.parts if part.left] == [FAULTS[fault]]
    assert bisection.sentence.startswith(f"torchscript leaves the graph at {FAULTS[fault]}: off by ")


def test_a_selection_of_its_own_is_named(made, monkeypatch):
    def backwards(graph):
        true = graph.pruner.forward
        graph.pruner.forward = lambda tokens: true(tokens._replace(saliency=-tokens.saliency))

    planted(monkeypatch, backwards)
    (bisection,) = validate(made, benchmark="shapes", limit=2, bisect=True).bisections
    assert bisection.first.name == "selection"


@pytest.mark.whole
@pytest.mark.parametrize("fmt", ["openvino", "executorch"])
def test_a_format_that_is_built_from_another_is_taken_apart_too(small_llava, tmp_path, monkeypatch, fmt):
    """Its file is made with all parts as outputs too."""
    if reason := rooms.load("backends", fmt).Backend().missing():
        pytest.skip(reason)
    export(small_llava, tmp_path / "a", keep=8, formats=(fmt,), golden=0)
    (bisection,) = validate(tmp_path / "a", benchmark="shapes", limit=2, bisect=True).bisections
    assert bisection.first is None, bisection.sentence
    planted(monkeypatch, a_block)
    (bisection,) = validate(tmp_path / "a", benchmark="shapes", limit=2, bisect=True).bisections
    assert [part.name for part in bisection.parts if part.left] == [FAULTS[a_block]]


@pytest.mark.whole
def test_a_plan_that_cannot_run_here_is_refused_in_one_sentence(small_llava, tmp_path):
    backend = rooms.load("backends", "tensorrt_rtx").Backend()
    if reason := backend.missing_to_build():
        pytest.skip(reason)
    if (reason := backend.missing()) is None:
        pytest.skip("there is a GPU")
    export(small_llava, tmp_path / "a", keep=8, formats=("tensorrt_rtx",), golden=0)
    with pytest.raises(UnavailableError, match=f"^{re.escape(reason)}$") as caught:
        validate(tmp_path / "a", benchmark="shapes", limit=2, bisect=True)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, marks=pytest.mark.whole),  # sampled by the bare tower below
        pytest.param({"precision": "fp16"}, marks=pytest.mark.whole),
        pytest.param({"pruner": "visionzip"}, marks=pytest.mark.whole),
        pytest.param({"pruner": "vispruner"}, marks=pytest.mark.whole),
    ],
)
def test_nothing_is_named_where_nothing_is_wrong(small_llava, tmp_path, changes):
    export(small_llava, tmp_path / "a", keep=8, formats=("onnx",), golden=0, **changes)
    (bisection,) = validate(tmp_path / "a", benchmark="shapes", limit=2, bisect=True).bisections
    assert bisection.first is None, bisection.sentence
    assert [part.name for part in bisection.parts[:4]] == ["embedding", "block 1", "block 2", "signal hidden"]


def test_a_bare_tower_projects_nothing_and_has_its_parts_all_the_same(tmp_path):
    """Where nothing projects, two signals are one tensor, and an output has one name."""
    (tmp_path / "model").mkdir()
    model = checkpoints.WRITERS[0](tmp_path / "model")
    export(model, tmp_path / "a", keep=4, settings={"average": 5.0}, formats="torchscript", golden=0)
    (bisection,) = validate(tmp_path / "a", benchmark="shapes", limit=1, bisect=True).bisections
    assert bisection.first is None, bisection.sentence
    assert {"signal hidden", "signal projected"} <= {part.name for part in bisection.parts}


def test_parts_are_those_of_the_graph(small_llava):
    graph = assemble(load_model(str(small_llava), {"projected", "saliency"}), "adaptive", {"keep": 8}).graph
    pixels = torch.rand(2, 3, 42, 42)
    parts = Parts(graph)
    specs, made = parts.specs(), parts(pixels)
    assert [spec.name for spec in specs][:4] == ["embedding", "block 1", "block 2", "hidden"]
    assert [("b", *part.shape[1:]) for part in made] == [spec.shape for spec in specs]
    for found, expected in zip(made[-4:], graph(pixels), strict=True):
        assert torch.equal(found, expected)
    given = dict(zip((spec.name for spec in specs), made, strict=True))
    again = part_by_part(graph, pixels, given)
    assert all(torch.equal(again[name], given[name]) for name in again)
    assert set(again) == {"embedding", "block 1", "block 2", *signals_in(graph.encode(pixels))}


def test_a_number_that_is_none_leaves_the_graph():
    bisection = Bisection("x", (Part("embedding", 0.1, 0.2), Part("block 1", float("nan"), 1.0)))
    assert bisection.first.name == "block 1"


def test_the_command_says_it(made, monkeypatch, capsys):
    command = ["vtp-export", "validate", str(made), "--benchmark", "shapes", "--limit", "1", "--bisect"]
    monkeypatch.setattr("sys.argv", command)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert "torchscript: no part of the graph, built anew here, leaves the rounding noise" in capsys.readouterr().out
