"""Nothing that a manifest says is believed: each lie fails, in words that name it."""

import copy
import dataclasses
import shutil

import numpy as np
import pytest
from PIL import Image
from torch import nn
from torch.nn import functional

from vtp_export.backends import base
from vtp_export.backends._torch import TorchSession
from vtp_export.backends.torchscript import Backend
from vtp_export.errors import ModelError, SpecError, UnavailableError
from vtp_export.graphs import assembly
from vtp_export.graphs.eager import EagerSession
from vtp_export.models._tower import Mlp
from vtp_export.pipeline import validate as module
from vtp_export.pipeline.explain import explain
from vtp_export.pipeline.export import export
from vtp_export.pipeline.inspect import inspect
from vtp_export.pipeline.run import run
from vtp_export.pipeline.validate import validate
from vtp_export.reports.artefact import inspection_summary
from vtp_export.reports.explain import explain_summary
from vtp_export.reports.results import run_summary
from vtp_export.runtime.artefact import open_artefact
from vtp_export.runtime.changing import write_manifest
from vtp_export.runtime.session import Session
from vtp_export.spec import Candidates, FileRecord


@pytest.fixture(scope="module")
def made(small_llava, tmp_path_factory):
    """A small artefact of the quickest format, 8 of 36 tokens in batches of 1 to 4."""
    out = tmp_path_factory.mktemp("validate") / "out"
    export(small_llava, out, keep=8, formats=("torchscript",), batch=(1, 1, 4))
    return out


def changed(manifest, path, change):
    """The manifest with one field, which stands at `path`, replaced by what `change` makes of it."""
    name, _, rest = path.partition(".")
    value = getattr(manifest, name)
    if rest and isinstance(value, dict):
        return dataclasses.replace(manifest, **{name: {**value, rest: change(value[rest])}})
    return dataclasses.replace(manifest, **{name: changed(value, rest, change) if rest else change(value)})


LIES = {
    "preprocessing.resample": (lambda _: 2, "resample is 2 in the manifest, and 3 by the model itself"),
    "preprocessing.mean": (lambda mean: (mean[1], mean[0], mean[2]), "get other pixels than the model takes"),
    "preprocessing.pad_to_square": (lambda _: True, "preprocessing.pad_to_square is true"),
    "preprocessing.resize_shortest": (lambda _: 43, "preprocessing.resize_shortest is 43"),
    "layout": (
        lambda layout: dataclasses.replace(layout, candidates=Candidates((4, 9)), patch=(7, 4)),
        "layout.candidates.grid is [4, 9] in the manifest, and [6, 6]",
    ),
    "layout.patch": (lambda _: (6, 7), "layout.patch is [6, 7] in the manifest, and [7, 7]"),
    "layout.candidates.cls": (lambda _: True, "layout.candidates.cls is true in the manifest, and false"),
    "layout.keep": (lambda _: 9, "layout.keep is 9 in the manifest, and 8"),
    "model.family": (lambda _: "clip", 'model.family is "clip" in the manifest, and "llava"'),
    "model.weights_bytes": (lambda size: size + 1, "model.weights_bytes is"),
    "model.saliency": (lambda _: "received", 'model.saliency is "received" in the manifest, and "cls"'),
    "pruner.ascending": (lambda _: False, "pruner.ascending is false in the manifest, and true"),
    "pruner.settings.average": (lambda _: 30.0, "pruner.settings.average is 30.0 in the manifest, and 90.0"),
    "pruner.settings.tau": (lambda _: 0.6, "torchscript against graph: "),
    "pruner.settings.step": (lambda _: 0.5, "torchscript against graph: "),
    "precision.float32_layers": (lambda _: ("frontend.nowhere",), 'precision.float32_layers is ["frontend.nowhere"]'),
    "precision.count": (lambda _: 16, "precision.count is 16 in the manifest, and null"),
}

CONTRADICTIONS = {
    "layout.candidates.grid": (lambda _: (7, 6), "needs more pixels than there are"),
    "layout.slots": (lambda _: 9, "the layout has 9 slots"),
    "layout.image_size": (lambda _: (84, 42), "the graph takes images of"),
    "inputs": (lambda inputs: (dataclasses.replace(inputs[0], name="pixels"),), "the inputs are pixels"),
    "outputs": (lambda outputs: outputs[:2], "the outputs are named"),
    "precision.tokens_dtype": (lambda _: "float16", "tokens are float32 among the outputs and 'float16' in precision"),
    "precision.files": (lambda _: {"x": FileRecord(1, "y")}, "fp32 has the files \\['x'\\]; there may be one of int8"),
    "batch.opt": (lambda _: 5, "the batch is 1 to 4, usually 5"),
}
"""Lies that the rest of the manifest does not bear out: it cannot even be read."""


@pytest.fixture
def forged(made, tmp_path, monkeypatch):
    """Write a copy of the artefact with another manifest, as if it had been built for that."""
    monkeypatch.setattr(base, "refuse_other_identity", lambda *_: None)

    def forge(path, change):
        folder = shutil.copytree(made, tmp_path / "forged")
        write_manifest(folder, changed(open_artefact(folder).manifest, path, change))
        return folder

    return forge


def test_the_truth_passes(made):
    result = validate(made, benchmark="shapes", limit=2)
    assert result.passed, result.failures
    assert result.pixels[0].name == "preprocessing against the model's own files"
    assert [one.images for one in result.batches] == [2 + 3 + 4]
    assert open_artefact(made).manifest.validation["torchscript"]["passed"] is True


@pytest.mark.parametrize("path", LIES)
def test_a_lie_fails_by_name(forged, path):
    change, words = LIES[path]
    folder = forged(path, change)
    result = validate(folder, benchmark="shapes", limit=2)
    assert not result.passed
    assert any(words in failure for failure in result.failures), result.failures
    assert open_artefact(folder).manifest.validation["torchscript"]["passed"] is False


@pytest.mark.parametrize("path", CONTRADICTIONS)
def test_a_lie_that_contradicts_the_rest_is_refused(forged, path):
    change, words = CONTRADICTIONS[path]
    with pytest.raises(SpecError, match=words):
        forged(path, change)


UNPROVEN = "no validation of it that passed is recorded"


def test_what_nothing_has_proved_is_called_so_wherever_places_are_told(forged, made, photo, tmp_path):
    validate(made, benchmark="shapes", limit=2)
    lie, _ = LIES["layout"]
    for folder, proven in ((made, True), (forged("layout", lie), False)):  # whose manifest still tells of a validation
        ran = run(folder, [photo], overlays=tmp_path / f"overlays-{proven}")
        told = inspect(folder), ran, explain(folder, "astronaut")
        assert [one.proven for one in told] == [proven] * 3
        shown = inspection_summary(told[0]), run_summary(told[1]), explain_summary(told[2])
        assert all(any(UNPROVEN in str(part) for part in parts) is not proven for parts in shown)
    assert not any(UNPROVEN in str(part) for part in run_summary(run(folder, [photo])))
    assert not validate(
        folder, benchmark="shapes", limit=2
    ).passed  # the words stay true of what was judged, and failed
    assert not inspect(folder).proven and UNPROVEN in inspection_summary(inspect(folder))[-1]


def test_pixels_are_judged_first_and_tokens_by_the_right_ones(forged):
    result = validate(forged("preprocessing.resample", lambda _: 2), benchmark="shapes", limit=2)
    assert result.failures[0].startswith("preprocessing against the model's own files: ")
    assert all(comparison.passed for comparison in result.comparisons)


def test_a_batch_that_the_file_cannot_run_is_told(forged, monkeypatch):
    def run(self, arrays, true=Session.run):
        assert len(arrays["pixel_values"]) < 9, "too many"
        return true(self, arrays)

    monkeypatch.setattr(Session, "run", run)
    with pytest.raises(AssertionError, match="too many"):
        validate(forged("batch.max", lambda _: 9), benchmark="shapes", limit=2)


# --- faults of a file that its manifest hides ----------------------------------------------------------------------


def doubled_alone(arrays, batch):
    return {**arrays, "tokens": arrays["tokens"] * 2} if batch == 1 else arrays


def first_of_all(arrays, batch):
    return {**arrays, "erank": np.full_like(arrays["erank"], arrays["erank"][0])} if batch == 3 else arrays


def turned_round(arrays, batch):
    return {name: array[::-1].copy() for name, array in arrays.items()} if batch == 3 else arrays


def not_a_number(arrays, batch):
    return {**arrays, "tokens": arrays["tokens"] * np.where(np.arange(batch) == 1, np.nan, 1)[:, None, None]}


def too_many(arrays, batch):
    return {**arrays, "num_kept": arrays["num_kept"] + 1}


FAULTS = {
    doubled_alone: ("in batches of other sizes", "ratio of the lengths of tokens is 2"),
    first_of_all: ("in batches of other sizes", "as image 3 of a batch of 3: erank is"),
    turned_round: ("in batches of other sizes", "as image 1 of a batch of 3: keeps other tokens"),
    not_a_number: ("torchscript against graph", "'tokens' holds a NaN or an infinity"),
    too_many: ("torchscript against graph", "num_kept is 9, and must be from 1 to 8"),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_fault_of_a_file_fails_by_name(made, monkeypatch, fault):
    true = TorchSession._run

    def run(self, arrays):
        results, batch = true(self, arrays), len(arrays["pixel_values"])
        if isinstance(self, EagerSession):
            return results
        return {name: array.astype(results[name].dtype) for name, array in fault(results, batch).items()}

    monkeypatch.setattr(TorchSession, "_run", run)
    result = validate(made, benchmark="shapes", limit=4)
    row, words = FAULTS[fault]
    assert any(row in failure and words in failure for failure in result.failures), result.failures


def another_epsilon(graph):
    for layer in graph.modules():
        if isinstance(layer, nn.LayerNorm):
            layer.eps *= 10


def another_activation(graph):
    for layer in graph.modules():
        if isinstance(layer, Mlp):
            layer.activation = functional.gelu


@pytest.mark.parametrize("fault", [another_epsilon, another_activation])
def test_a_tower_that_is_nearly_right_fails(monkeypatch, tmp_path, fault):
    true = Backend.build

    def build(self, graph, *rest):
        faulty = copy.deepcopy(graph)
        fault(faulty)
        return true(self, faulty, *rest)

    monkeypatch.setattr(Backend, "build", build)
    export("tiny-llava", tmp_path / "a", pruner="fastervlm", keep=64, formats=("torchscript",), golden=0)
    result = validate(tmp_path / "a", limit=2)
    assert any("error of tokens, relative to the largest entry" in failure for failure in result.failures), (
        result.failures
    )


@pytest.mark.parametrize("batch", [2, 3], ids=["of the usual size", "of another size"])
def test_a_fault_of_the_second_format_is_not_recorded_of_the_first(artefact, tmp_path, monkeypatch, batch):
    folder, true = shutil.copytree(artefact, tmp_path / "copy"), TorchSession._run

    def run(self, arrays):
        results = true(self, arrays)
        if not isinstance(self, EagerSession) and len(arrays["pixel_values"]) == batch:
            results["tokens"] = results["tokens"] * np.nan
        return results

    monkeypatch.setattr(TorchSession, "_run", run)
    first, second = open_artefact(folder).manifest.formats()
    assert second == "torchscript"
    result = validate(folder, benchmark="shapes", limit=2)
    assert all(failure.startswith(second) for failure in result.failures), result.failures
    for rows in (result.comparisons[1:], result.batches):
        assert [row.name.split()[0] for row in rows] == [first, second]
    recorded = open_artefact(folder).manifest.validation
    assert [recorded[fmt]["passed"] for fmt in (first, second)] == [True, False]


FILLED = {"kept": (0, "'kept' is 0 in slot"), "tokens": (1, "'tokens' is not zero in slot")}


@pytest.mark.parametrize("name", FILLED)
def test_what_is_in_empty_slots_is_judged(small_llava, tmp_path, monkeypatch, name):
    settings = {"keep": 8, "count": "adaptive", "average": 20}
    export(small_llava, tmp_path / "out", settings=settings, formats=("torchscript",), batch=1)
    assert validate(tmp_path / "out", benchmark="shapes", limit=2).passed
    value, words = FILLED[name]
    true = TorchSession._run

    def run(self, arrays):
        results = true(self, arrays)
        if not isinstance(self, EagerSession):
            results[name][0, int(results["num_kept"][0]) :] = value
        return results

    monkeypatch.setattr(TorchSession, "_run", run)
    result = validate(tmp_path / "out", benchmark="shapes", limit=2)
    assert [failure.startswith("torchscript against graph: scene-") for failure in result.failures] == [True, True]
    assert all(words in failure and "past num_kept" in failure for failure in result.failures)


# --- said, though nothing fails ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("average", "told"), [(0.01, True), (10, False)])
def test_a_measure_that_decides_nothing_is_told(small_llava, tmp_path, average, told):
    settings = {"keep": 8, "average": average}
    export(small_llava, tmp_path / "out", settings=settings, formats=("torchscript",), batch=1)
    result = validate(tmp_path / "out", benchmark="shapes", limit=2)
    assert result.passed
    assert any("erank decides nothing on these 2 images" in note for note in result.notes) is told


# --- refused at once -----------------------------------------------------------------------------------------------


@pytest.fixture
def nothing_is_loaded(monkeypatch):
    def load(*_):
        raise AssertionError("a model was loaded")

    monkeypatch.setattr(module, "load_model", load)
    monkeypatch.setattr(assembly, "load_model", load)


@pytest.mark.usefixtures("nothing_is_loaded")
@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"benchmark": "photos", "answers": True}, SpecError, "asks no questions"),
        ({"benchmark": "photos", "device": "dla"}, UnavailableError, "does not run on dla"),
    ],
)
def test_what_cannot_be_done_is_refused_before_a_model_is_loaded(made, arguments, error, words):
    with pytest.raises(error, match=words):
        validate(made, limit=1, **arguments)


def test_answers_without_a_language_model_are_refused_before_anything_is_measured(made, monkeypatch):
    def trial(**_):
        raise AssertionError("noise was measured")

    monkeypatch.setattr(module, "Trial", trial)
    with pytest.raises(ModelError, match="has no language model that answers can come from"):
        validate(made, benchmark="shapes", limit=1, answers=True)


def test_a_report_among_the_images_is_one_file_more(made, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.new("RGB", (40, 30), "red").save(photos / "000.png")
    Image.new("RGB", (40, 30), "blue").save(photos / "other.png")
    before = {path: path.read_bytes() for path in photos.iterdir()}
    for _ in range(2):
        validate(made, benchmark=photos, report=photos)
        page = (photos / "index.html").read_text()
        assert page.count("data:image/jpeg") == 2
        assert {path: path.read_bytes() for path in photos.iterdir() if path.suffix != ".html"} == before
