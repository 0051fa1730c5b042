"""`validate --answers --through`: who answers, and what is refused before anything is loaded."""

import json
import shutil

import pytest

from vtp_export.errors import ModelError, SpecError, UnknownNameError
from vtp_export.integrations.hosts import refuse_unasked
from vtp_export.pipeline import validate as module
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
