"""`validate --answers --through`: who answers, and what is refused before anything is loaded."""

import json
import shutil

import numpy as np
import onnx
import pytest

from vtp_export.errors import ModelError, SpecError, UnknownNameError
from vtp_export.integrations.hosts import refuse_unasked
from vtp_export.pipeline import validate as module
from vtp_export.pipeline.bench import bench
from vtp_export.pipeline.decoder import decoder
from vtp_export.pipeline.validate import validate
from vtp_export.reports.validation import validation_summary


@pytest.mark.parametrize(
    ("through", "folder", "answers", "error", "told"),
    [
        ("tensorflow", None, True, UnknownNameError, "no runtime of a language model named 'tensorflow'"),
        ("onnxruntime", "x", False, SpecError, "none are asked; add --answers"),
        ("transformers", "x", False, SpecError, "none are asked; add --answers"),
        ("onnxruntime", None, True, SpecError, "name the folder that vtp-export decoder wrote with --decoder"),
        ("openvino-genai", None, True, SpecError, "name the folder that vtp-export genai wrote with --decoder"),
        ("transformers", "x", True, SpecError, "'x' is none for it; name a runtime with --through"),
        ("transformers", None, True, SpecError, "asks no questions"),
    ],
)
def test_what_cannot_be_asked_is_refused_first(through, folder, answers, error, told):
    with pytest.raises(error, match=told):
        refuse_unasked([], through, folder, answers)


def test_a_quantised_language_model_is_one_that_reads_our_tokens():
    for through, told in (("transformers", "it reads the checkpoint"), ("openvino-genai", "it sees pictures")):
        with pytest.raises(
            SpecError, match=f"--quantised is about a language model that is given tokens, not of {through}: {told}"
        ):
            refuse_unasked([], through, "x", True, quantised=True)


@pytest.mark.whole
def test_nothing_is_loaded_before_that(artefact, monkeypatch):
    monkeypatch.setattr(module, "load_model", None)
    with pytest.raises(SpecError, match="needs a language model"):
        validate(artefact, benchmark="shapes", limit=1, answers=True, through="onnxruntime")


@pytest.mark.whole
def test_another_runtime_answers_the_same(embedded_artefact, tmp_path):
    shutil.copytree(embedded_artefact, tmp_path / "artefact")
    decoder("tiny-llava", tmp_path / "decoder")
    asked = {"benchmark": "shapes", "limit": 5, "answers": True, "through": "onnxruntime"}
    report = validate(tmp_path / "artefact", **asked, decoder=tmp_path / "decoder")
    (answers,) = report.answers
    assert report.passed and answers.identical == answers.questions > 40
    assert answers.name == "answers of onnx through onnxruntime" and answers.first_token_ms > 0
    assert any("first token ms" in table.columns for table in validation_summary(report) if hasattr(table, "columns"))
    recorded = json.loads((tmp_path / "artefact" / "manifest.json").read_text())["validation"]["onnx"]
    assert recorded["passed"] and not any(key.startswith("answers") for key in recorded)
    with pytest.raises(ModelError, match=r"has no words\.json; name a folder that vtp-export decoder wrote"):
        validate(tmp_path / "artefact", **asked, decoder=tmp_path)


@pytest.mark.whole
def test_what_a_quantised_language_model_changes_is_told_apart(embedded_artefact, tmp_path):
    """Weights in five levels, a coarse language model: it answers otherwise, and from either's tokens the same."""
    shutil.copytree(embedded_artefact, tmp_path / "artefact")
    decoder("tiny-llava", tmp_path / "decoder")
    coarsen(tmp_path / "decoder" / "decoder.onnx", levels=5)
    asked = {"benchmark": "shapes", "limit": 3, "answers": True, "through": "onnxruntime"}
    apart = validate(tmp_path / "artefact", **asked, decoder=tmp_path / "decoder", quantised=True)
    names = [one.name for one in apart.answers]
    assert names == [
        "the unpruned graph through onnxruntime",
        "the pruned graph through onnxruntime",
        "answers of onnx through onnxruntime",
    ]
    unpruned, graph, own = apart.answers
    assert unpruned.identical < unpruned.questions and graph.identical < graph.questions
    assert own.identical == own.questions > 25 and apart.passed and not unpruned.held_to
    kept = {"cache": tmp_path / "kept", "quantised": True, "decoder": tmp_path / "decoder"}
    assert validate(tmp_path / "artefact", **{**asked, "limit": 1}, **kept).passed
    before = {path.name: path.read_bytes() for path in (tmp_path / "kept").iterdir()}
    assert sum(b"\n" in content.strip() for content in before.values()) == 2  # both graphs' answers, in Transformers
    assert validate(tmp_path / "artefact", **{**asked, "limit": 1}, **kept).passed
    assert {path.name: path.read_bytes() for path in (tmp_path / "kept").iterdir()} == before
    together = validate(tmp_path / "artefact", **asked, decoder=tmp_path / "decoder")
    assert not together.passed and "answers are the same, below" in together.failures[0]


@pytest.mark.whole
def test_a_language_model_that_gives_no_numbers_answers_nothing(embedded_artefact, tmp_path):
    """The best of nothing but NaN is always the same word, which would agree with itself."""
    decoder("tiny-llava", tmp_path / "decoder")
    broken = np.load(tmp_path / "decoder" / "embeddings.npy")
    np.save(tmp_path / "decoder" / "embeddings.npy", np.full_like(broken, np.nan))
    asked = {"rounds": 1, "check": True, "decoder": tmp_path / "decoder"}
    with pytest.raises(ModelError, match="gives logits that are not finite"):
        bench([embedded_artefact], formats=["onnx"], **asked)
    for wrong in (broken[:10], broken.astype(np.int32)):
        np.save(tmp_path / "decoder" / "embeddings.npy", wrong)
        with pytest.raises(ModelError, match=r"and floats for .* words are right"):
            bench([embedded_artefact], formats=["onnx"], **asked)
    with pytest.raises(SpecError, match=r"threads is 1\.5"):
        bench([embedded_artefact], formats=["onnx"], **asked, threads=1.5)


def coarsen(path, levels):
    """Round every matrix of an ONNX file to a few levels, in place."""
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        array = onnx.numpy_helper.to_array(tensor)
        if array.ndim == 2 and array.dtype == np.float32 and min(array.shape) > 8:
            step = abs(array).max() / levels
            tensor.CopyFrom(onnx.numpy_helper.from_array((array / step).round() * step, tensor.name))
    onnx.save(model, path)
