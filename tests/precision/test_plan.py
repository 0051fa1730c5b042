"""What stays in float32 in int8 is what loses most when it alone is narrow; a plan says so, and can be given."""

import base64
import dataclasses
import json
import re
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from vtp_export.backends import base
from vtp_export.errors import ArtefactError, SpecError
from vtp_export.graphs.assembly import assemble, load_model, needs_of
from vtp_export.graphs.eager import EagerSession
from vtp_export.pipeline.export import export
from vtp_export.pipeline.inspect import inspect
from vtp_export.pipeline.validate import validate
from vtp_export.precision.lowering import lowered, weighted_layers
from vtp_export.precision.planning import found_plan
from vtp_export.precision.policy import Precision, lower
from vtp_export.precision.ranges import measured
from vtp_export.precision.sensitivity import Mixture, groups_of
from vtp_export.precision_plans import PLAN, PrecisionPlan, Sensitivity, plan_record, read_plan, write_plan
from vtp_export.runtime.artefact import open_artefact
from vtp_export.runtime.changing import write_manifest
from vtp_export.spec import PrecisionRecord

SHAPES = {"images": "shapes", "limit": 5}
LAYERS = "frontend.tower.encoder.layers"
LOUD = f"{LAYERS}.1.mlp"
GROUPS = [*(f"{LAYERS}.{block}.{part}" for block in (0, 1) for part in ("self_attn", "mlp")), "frontend.projector"]


@pytest.fixture(scope="module")
def loud(small_llava, tmp_path_factory):
    """A checkpoint of the same function, but for one channel between two layers, which is so large that, where others
    share its scale, they are lost."""
    folder = shutil.copytree(small_llava, tmp_path_factory.mktemp("loud") / "model")
    tensors = load_file(folder / "model.safetensors")
    mlp = "vision_tower.vision_model.encoder.layers.1.mlp"
    tensors[f"{mlp}.fc1.bias"][0] += 3e3
    tensors[f"{mlp}.fc2.bias"] -= 3e3 * tensors[f"{mlp}.fc2.weight"][:, 0]
    save_file(tensors, folder / "model.safetensors")
    return folder


@pytest.fixture(scope="module")
def made(loud, tmp_path_factory):
    """An artefact in int8, in blocks, and the report of its export. Read only."""
    out = tmp_path_factory.mktemp("plan") / "out"
    return export(loud, out, keep=8, precision=Precision(name="int8", **SHAPES), golden=0)


def graph_of(model, pruner="adaptive"):
    settings = {"keep": 8}
    return assemble(load_model(str(model), needs_of(pruner, settings)), pruner, settings).graph


# --- finding one ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("activations", ["blocks", "static"])
def test_what_loses_most_stays_in_float32_and_where_nothing_loses_much_nothing_does(small_llava, loud, activations):
    spec = Precision(name="int8", activations=activations, **SHAPES)
    model = load_model(str(loud))
    found = lower(graph_of(loud), spec, model.preprocessing)
    assert [one.group for one in found.plan.sensitivities] == GROUPS
    shares = {one.group: one.share for one in found.plan.sensitivities}
    assert shares.pop(LOUD) > 1 > 2 * max(shares.values())
    assert LOUD in found.plan.float32 and "frontend.projector" not in found.plan.float32
    assert set(found.record.float32_layers) == {f"{group}.{own}" for group in found.plan.float32 for own in
                                                (("fc1", "fc2") if group.endswith("mlp") else
                                                 ("k_proj", "out_proj", "q_proj", "v_proj"))}  # fmt: skip
    quiet = lower(graph_of(small_llava), spec, model.preprocessing)
    assert (quiet.plan, quiet.record.float32_layers) == (PrecisionPlan(), ())


@pytest.mark.parametrize("pruner", ["adaptive", "prumerge"])
@pytest.mark.parametrize("activations", ["blocks", "static"])
def test_a_group_alone_is_what_the_whole_graph_makes_with_it_alone_narrow(loud, pruner, activations):
    """Though what comes before it is not run again; and a layer before all blocks is not forgotten."""
    graph = graph_of(loud, pruner)
    embeddings = graph.frontend.tower.embeddings
    embeddings.mixed = torch.nn.Linear(32, 32, bias=False).requires_grad_(False)
    embeddings.register_forward_hook(lambda module, _, made: module.mixed(made))
    pixels = torch.randn(1, 3, 42, 42, generator=torch.Generator().manual_seed(0)).numpy()
    record = PrecisionRecord(name="int8", activations=activations, block=32 if activations == "blocks" else None)
    ranges, every = measured(graph, [pixels]), tuple(weighted_layers(graph))
    wide = dataclasses.replace(record, float32_layers=every)
    mixture = Mixture(lowered(graph, wide, ranges), lowered(graph, record, ranges), "cpu")
    groups = groups_of(graph)
    following = ["frontend.tower.following.self_attn"] if pruner == "prumerge" else []
    assert sorted(groups) == sorted(["frontend.tower.embeddings", *GROUPS, *following])
    outputs = dict(mixture.alone(pixels))
    for group, layers in groups.items():
        rest = dataclasses.replace(record, float32_layers=tuple(set(every) - set(layers)))
        alone = EagerSession(lowered(graph, rest, ranges))(pixels)[0]
        assert (outputs[group][0].kept == alone.kept).all() and (outputs[group][0].tokens == alone.tokens).all(), group
        assert group in following or (alone.tokens != EagerSession(graph)(pixels)[0].tokens).any(), group
    assert (mixture(pixels, every)[0].tokens == EagerSession(graph)(pixels)[0].tokens).all(), "put back"


def test_as_few_groups_as_it_takes_the_most_sensitive_first(monkeypatch):
    """Up to half of the groups for a margin, beyond that for the gates themselves, and never all of them."""
    from vtp_export.precision import planning

    losses = {"a": 0.1, "b": 0.9, "c": 0.5, "d": 0.7, "e": 0.3, "f": 0.2}
    table = tuple(
        Sensitivity(group=g, worth=1.0, jaccard=1.0, erank=None, cosine=1.0, share=s) for g, s in losses.items()
    )
    monkeypatch.setattr(planning, "sensitivities", lambda *_: table)

    class Groups:
        groups = losses

    def plan(share):
        """`share` by how many groups are in float32."""
        return found_plan(Groups(), None, lambda wide, _: Fixed(share[len(wide)]), lambda *_: None)

    assert plan([0.5] * 7) == PrecisionPlan()
    assert plan([0.9, 0.4] + [0] * 5) == PrecisionPlan(float32=("b",), sensitivities=table)
    assert plan([2, 1.5, 0.6, 0.5, 0, 0, 0]).float32 == ("b", "c", "d")
    assert plan([2, 1.5, 1.2, 0.9, 0.7, 0.5, 0]).float32 == ("b", "c", "d"), "half, and no gate fails"
    assert plan([9, 8, 7, 6, 5, 1, 0]).float32 == ("b", "c", "d", "e", "f")
    assert plan([9, 8, 7, 6, 5, 4, 0]).float32 == ("b", "c", "d", "e", "f"), "not all"


@dataclasses.dataclass
class Fixed:
    """A quality of which only the share is known."""

    share: float

    @property
    def good(self):
        return self.share <= 0.5


# --- in an artefact ---------------------------------------------------------------------------------------------------


def test_a_plan_is_written_shown_and_taken_again(made, loud, vtp):
    assert made.plan.float32 == (LOUD,)
    assert read_plan(made.folder / PLAN) == made.plan == inspect(made.folder).plan
    for extra in ((), ("--json",)):
        code, out, _ = vtp("inspect", made.folder, *extra)
        assert code == 0 and LOUD in out
    progress: list[str] = []
    spec = Precision(name="int8", plan=made.folder / PLAN, **SHAPES)
    again = lower(
        graph_of(loud), spec, load_model(str(loud)).preprocessing, progress=lambda what, *_: progress.append(what)
    )
    assert (again.plan, again.record) == (made.plan, made.manifest.precision)
    assert progress == ["int8 with 2 of 14 layers in float32: is what is kept as good?"], "nothing was looked for"


def test_plans_by_name(small_llava):
    graph, preprocessing = graph_of(small_llava), load_model(str(small_llava)).preprocessing
    attention = {f"{LAYERS}.{block}.self_attn.{own}_proj" for block in (0, 1) for own in ("q", "k", "v", "out")}
    mlps = {f"{LAYERS}.{block}.mlp.{own}" for block in (0, 1) for own in ("fc1", "fc2")}
    first = {layer for layer in attention | mlps if layer.startswith(f"{LAYERS}.0.")}
    for name, layers in {"narrow": set(), "wide-mlps": mlps, "wide-half": first}.items():
        made = lower(graph, Precision(name="int8", activations="blocks", plan=name, **SHAPES), preprocessing)
        assert set(made.record.float32_layers) == layers, name
        assert made.plan.sensitivities == ()


def test_the_page_shows_it_and_a_plan_that_is_not_the_files_fails(made, tmp_path, monkeypatch):
    folder = shutil.copytree(made.folder, tmp_path / "copy")
    assert validate(folder, benchmark="shapes", limit=1, report=tmp_path / "report").false_claims == ()
    page = (tmp_path / "report" / "index.html").read_text()
    assert LOUD in page
    (drawn,) = (base64.b64decode(text).decode() for text in re.findall(r"data:image/svg\+xml;base64,([\w+/=]+)", page))
    assert drawn.startswith("<?xml") and "stays in float32" in drawn
    monkeypatch.setattr(base, "refuse_other_identity", lambda *_: None)
    for plan, words in (
        (PrecisionPlan(), f"{PLAN} leaves 0 layers in float32, and by the manifest there are 2: not the same"),
        (PrecisionPlan(float32=("nowhere",)), f"{PLAN}: the precision plan leaves 'nowhere' in float32, and nothing"),
    ):
        write_plan(folder, plan)
        manifest = open_artefact(folder).manifest
        precision = dataclasses.replace(manifest.precision, files=plan_record(plan))
        write_manifest(folder, dataclasses.replace(manifest, precision=precision))
        (claim,) = validate(folder, benchmark="shapes", limit=1).false_claims
        assert claim.startswith(words)


def test_a_damaged_plan_is_refused(made, tmp_path):
    folder = shutil.copytree(made.folder, tmp_path / "copy")
    path = folder / PLAN
    path.write_text(path.read_text().replace("mlp", "mlq", 1))
    for command in (inspect, validate):
        with pytest.raises(ArtefactError, match=rf"{PLAN}' is damaged"):
            command(folder)
    path.unlink()
    with pytest.raises(ArtefactError, match=rf"{PLAN}' is missing"):
        validate(folder)


# --- what is refused --------------------------------------------------------------------------------------------------


def written(made, **changes):
    return json.dumps(json.loads((made.folder / PLAN).read_text()) | changes)


REFUSED = {
    "of a deeper tower": (
        lambda made: written(made).replace(f"{LAYERS}.1.mlp", f"{LAYERS}.7.mlp"),
        rf"of another model or pruner: '{LAYERS}\.1\.mlp' is in the model alone",
    ),
    "of a pruner that reads one layer more": (
        lambda made: written(made).replace('"frontend.projector"', '"frontend.tower.following.self_attn"'),
        r"of another model or pruner: 'frontend.projector' is in the model alone",
    ),
    "by hand, of nothing there": (
        lambda made: written(made, float32=[f"{LAYERS}.1.mlq"], sensitivities=[]),
        rf"leaves '{LAYERS}\.1\.mlq' in float32, and nothing that int8 narrows is there; .* layers are: {LAYERS}",
    ),
    "a path twice": (lambda made: written(made, float32=[LOUD, LOUD]), "names a path twice in 'float32'"),
    "of another version": (lambda made: written(made, schema=2), r"\.schema is 2, which is not"),
    "an unknown key": (lambda made: written(made, narrow=[]), "has the unknown key 'narrow'"),
    "no text": (lambda made: written(made, float32=[1]), r"float32\[0\] is 1, which is not"),
    "no JSON": (lambda made: "{", "is not JSON"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_no_plan_of_this_model_is_refused(made, loud, tmp_path, what):
    content, words = REFUSED[what]
    path = tmp_path / "plan.json"
    path.write_text(content(made))
    spec = Precision(name="int8", plan=str(path), **SHAPES)
    with pytest.raises(SpecError, match=words):
        lower(graph_of(loud), spec, load_model(str(loud)).preprocessing)


def test_the_command_refuses_in_one_sentence(vtp, small_llava, tmp_path):
    plan = tmp_path / "missing.json"
    words = ["export", small_llava, "--keep", "8", "--out", tmp_path / "out", "--plan", plan, "--precision"]
    code, _, err = vtp(*words, "int8")
    assert (code, err.splitlines()[-1].startswith(f"error: the precision plan '{plan}' cannot be read")) == (2, True)
    code, _, err = vtp(*words, "fp16")
    assert code == 2 and "plan are settings of int8, and the precision is fp16" in " ".join(err.split())


def test_any_part_of_the_graph_may_be_named(loud):
    paths = ("frontend.tower", "frontend.projector.linear_1")
    plan = PrecisionPlan(float32=paths)
    found = lower(graph_of(loud), Precision(name="int8", plan=plan, **SHAPES), load_model(str(loud)).preprocessing)
    assert len(found.record.float32_layers) == 2 * 6 + 1
    assert "fp16 makes the smaller file" in found.notes[0]
