"""Configurations are parsed with Triton's own schema."""

import json
import shutil

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from tests.sealing import reseal, sealed
from vtp_export import rooms
from vtp_export.errors import ArtefactError, SpecError
from vtp_export.integrations.triton import Serving, config
from vtp_export.pipeline.triton import triton
from vtp_export.reports.serving import triton_summary
from vtp_export.runtime.artefact import open_artefact


def parsed(text):
    return text_format.Parse(text, model_config_pb2.ModelConfig())


@pytest.fixture
def changed(artefact, tmp_path):
    """Copies of the tiny artefact with another manifest."""

    def change(name="copy", **entries):
        shutil.copytree(artefact, tmp_path / name)
        path = tmp_path / name / "manifest.json"
        reseal(path, lambda manifest: manifest.update(entries))
        return tmp_path / name

    return change


def test_the_model_is_what_the_manifest_says(artefact, tmp_path):
    (model,) = triton(artefact, tmp_path / "models")
    found, manifest = parsed((model.folder / "config.pbtxt").read_text()), open_artefact(artefact).manifest
    assert (found.name, found.backend, found.max_batch_size) == (model.folder.name, "onnxruntime", 16)
    assert [(i.name, list(i.dims)) for i in found.input] == [("pixel_values", [3, 42, 42])]
    outputs = {o.name: (model_config_pb2.DataType.Name(o.data_type), list(o.dims)) for o in found.output}
    assert outputs == {
        "tokens": ("TYPE_FP32", [8, 48]), "kept": ("TYPE_INT64", [8]),
        "num_kept": ("TYPE_INT64", [1]), "erank": ("TYPE_FP32", [1]),
    }  # fmt: skip
    reshaped = {o.name: list(o.reshape.shape) for o in found.output if o.HasField("reshape")}
    assert reshaped == {"num_kept": [], "erank": []}
    assert list(found.dynamic_batching.preferred_batch_size) == [1, 16]
    assert found.dynamic_batching.max_queue_delay_microseconds == 1000
    assert found.instance_group[0].kind == model_config_pb2.ModelInstanceGroup.KIND_GPU
    assert found.parameters["vtp_export.manifest"].string_value == manifest.identity()
    assert (model.folder / "1" / "model.onnx").read_bytes() == (artefact / "model.onnx").read_bytes()


@pytest.mark.parametrize("pruner", [name for name in rooms.names("pruners") if name != "none"])
def test_every_pruner_has_a_configuration(artefact, pruner):
    import dataclasses

    from vtp_export.spec import TensorSpec

    manifest = open_artefact(artefact).manifest
    measures = ("erank", "attention_entropy")
    outputs = manifest.outputs[:3] + tuple(TensorSpec(name, "float32", ("b",)) for name in measures)
    found = parsed(config(dataclasses.replace(manifest, outputs=outputs), "onnx", {}, Serving(pruner, gpu=False)))
    assert [o.name for o in found.output] == ["tokens", "kept", "num_kept", *measures]
    assert found.instance_group[0].kind == model_config_pb2.ModelInstanceGroup.KIND_CPU


def test_plans_are_chosen_by_compute_capability(changed, tmp_path):
    folder = changed()
    manifest = json.loads((folder / "manifest.json").read_text())
    (record,) = (build["files"]["model.onnx"] for build in manifest["builds"] if build["format"] == "onnx")
    for cc in ("8.7", "9.0"):
        name = f"model.sm{cc.replace('.', '')}.plan"
        shutil.copy(folder / "model.onnx", folder / name)
        engine = {"runtime": "10.3.0", "compute_capabilities": [cc], "platform": "linux", "device": "x"}
        build = {"format": "tensorrt", "main": name, "files": {name: record}, "engine": engine}
        manifest["builds"].append(build)
    (folder / "manifest.json").write_text(sealed(manifest))
    models = {model.backend: model for model in triton(folder, tmp_path / "models", name="m")}
    found = parsed((models["tensorrt"].folder / "config.pbtxt").read_text())
    assert dict(found.cc_model_filenames) == {"8.7": "model.sm87.plan", "9.0": "model.sm90.plan"}
    assert found.default_model_filename == "model.sm87.plan"
    assert {path.name for path in (models["tensorrt"].folder / "1").iterdir()} == {"model.sm87.plan", "model.sm90.plan"}
    assert [model.name for model in triton(folder, tmp_path / "cpu", name="m", cpu=True)] == ["m-onnx"]


def test_int8_in_blocks_is_served_on_cpus_and_batched(changed, tmp_path):
    precision = {"name": "int8", "activations": "blocks", "block": 32, "float32_layers": [], "images": None,
                 "count": None, "data_sha256": None, "tokens_dtype": "float32", "files": {}}  # fmt: skip
    (model,) = triton(changed(precision=precision), tmp_path / "models")
    found = parsed((model.folder / "config.pbtxt").read_text())
    assert found.HasField("dynamic_batching")
    assert found.instance_group[0].kind == model_config_pb2.ModelInstanceGroup.KIND_CPU
    assert "int8 in blocks is for CPUs" in model.notes[0]


@pytest.mark.parametrize("cpu", [False, True])
def test_where_tf32_must_be_turned_off_is_said_everywhere(artefact, tmp_path, cpu):
    models = triton(artefact, tmp_path / "models", cpu=cpu)
    *_, following = triton_summary(tmp_path / "models", models)
    words = "NVIDIA_TF32_OVERRIDE=0"
    text = (models[0].folder / "config.pbtxt").read_text()
    assert [words in "".join(models[0].notes), words in text, words in following] == [not cpu] * 3
    parsed(text)


def test_what_is_refused(artefact, changed, tmp_path):
    out = tmp_path / "models"
    with pytest.raises(SpecError, match="Triton sends single images too; export with --batch"):
        triton(changed(batch={"min": 2, "opt": 2, "max": 4}), out)
    with pytest.raises(SpecError, match="must be letters, digits"):
        triton(artefact, out, name="a b")
    with pytest.raises(SpecError, match="the queue delay, in microseconds, is -1; it must be at least 0"):
        triton(artefact, out, queue_delay_us=-1)
    assert not out.exists()
    triton(artefact, out, name="m")
    with pytest.raises(ArtefactError, match="m-onnx"):
        triton(artefact, out, name="m")
    triton(artefact, out, name="m", force=True)
    (out / "mine-onnx").mkdir()
    (out / "mine-onnx" / "notes.txt").write_text("mine")
    with pytest.raises(ArtefactError, match="not a Triton model"):
        triton(artefact, out, name="mine", force=True)
    assert (out / "mine-onnx" / "notes.txt").read_text() == "mine"


def test_a_damaged_artefact_is_not_served(changed, tmp_path):
    folder = changed()
    with (folder / "model.onnx").open("ab") as file:
        file.write(b"x")
    with pytest.raises(ArtefactError, match="bytes"):
        triton(folder, tmp_path / "models")
    assert not (tmp_path / "models" / "copy-onnx").exists()


def test_the_command(artefact, tmp_path):
    from typer.testing import CliRunner

    from vtp_export.cli import app

    result = CliRunner().invoke(
        app, ["triton", str(artefact), "--out", str(tmp_path / "m"), "--name", "llava", "--cpu"]
    )
    assert result.exit_code == 0
    assert "tritonserver --model-repository" in result.output
    assert parsed((tmp_path / "m" / "llava-onnx" / "config.pbtxt").read_text()).name == "llava-onnx"
