"""An export is whole or not at all, and says what it is."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import onnx
import pytest
from safetensors.torch import load_file, save_file

from tests.formats import FROM_GRAPHS
from vtp_export.errors import ArtefactError, ExportError
from vtp_export.making import artefact as module
from vtp_export.manifests import manifest_from_json
from vtp_export.pipeline.export import export
from vtp_export.pipeline.validate import validate
from vtp_export.runtime.front_end import load
from vtp_export.spec import Candidates, Layout

ROOT = Path(__file__).parent.parent.parent
CHILD = "from vtp_export.cli import main; main()"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


def test_the_manifest_tells_all(artefact, small_llava):
    manifest = manifest_from_json((artefact / "manifest.json").read_text())
    assert manifest.model.id == str(small_llava)
    assert manifest.pruner.settings["average"] == 90.0
    assert manifest.pruner.origins == {"average": "ERANK_AVG_REF of the release"}
    assert [spec.name for spec in manifest.outputs] == ["tokens", "kept", "num_kept", "erank"]
    assert manifest.outputs[0].shape == ("b", 8, 48)
    assert manifest.formats() == ["onnx", "torchscript"]
    assert manifest.layout == Layout(candidates=Candidates((6, 6)), image_size=(42, 42), patch=(7, 7), keep=8, slots=8)
    assert {path.relative_to(artefact).as_posix() for path in artefact.rglob("*") if path.is_file()} == {
        "manifest.json",
        *manifest.golden,
        *(name for build in manifest.builds for name in build.files),
    }


def test_onnx_carries_the_identity(artefact):
    import onnx

    manifest = manifest_from_json((artefact / "manifest.json").read_text())
    model = onnx.load(artefact / "model.onnx")
    carried = {p.key: p.value for p in model.metadata_props}
    assert carried["vtp_export.manifest"] == manifest.identity()
    assert not any(node.metadata_props or node.doc_string for node in model.graph.node)  # no paths of this machine


def test_a_killed_export_leaves_no_artefact_and_the_next_one_cleans_up(small_llava, tmp_path):
    out = tmp_path / "a"
    command = [sys.executable, "-c", CHILD, "export", str(small_llava), "--keep", "4", "--out", str(out)]
    child = subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not any(tmp_path.iterdir()):  # the temporary folder is there: the export is under way
        assert time.monotonic() < deadline
        assert child.poll() is None
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert not out.exists()
    export(str(small_llava), out, keep=4)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("fmt", ["onnx", *(pytest.param(fmt, marks=pytest.mark.whole) for fmt in FROM_GRAPHS[1:])])
def test_a_full_disk_is_one_sentence_and_leaves_nothing(small_llava, tmp_path, fmt):
    limited = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000)); {CHILD}"
    arguments = ["export", str(small_llava), "--keep", "4", "--format", fmt, "--out", str(tmp_path / "deep" / "a")]
    result = subprocess.run(
        [sys.executable, "-c", limited, *arguments], env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 2, result.stderr
    assert "Traceback" not in result.stderr
    assert result.stderr.splitlines()[-1].startswith("error: ")
    assert list(tmp_path.iterdir()) == []


def test_too_little_space_is_refused_before_the_work(small_llava, tmp_path, monkeypatch):
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 10})())
    with pytest.raises(ArtefactError, match=r"needs about .* GB free"):
        export(str(small_llava), tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_a_backend_that_fails_leaves_nothing(small_llava, tmp_path, monkeypatch):
    from vtp_export.backends import torchscript

    def fail(self, source, brief, folder, progress):
        (folder / "model.ts").write_text("half")
        raise ExportError("planted")

    monkeypatch.setattr(torchscript.Backend, "build", fail)
    with pytest.raises(ExportError, match="planted"):
        export(str(small_llava), tmp_path / "a", formats=("onnx", "torchscript"))
    assert list(tmp_path.iterdir()) == []


def test_a_batch_of_one_size(small_llava, tmp_path):
    import numpy as np

    out = tmp_path / "a"
    export(str(small_llava), out, keep=4, batch=(2, 2, 2))
    assert json.loads((out / "manifest.json").read_text())["batch"] == {"min": 2, "opt": 2, "max": 2}
    with load(out) as session:
        assert session.run(np.zeros((2, 3, 42, 42), np.float32)).kept.shape == (2, 4)


@pytest.mark.whole
@pytest.mark.parametrize("loop_free", [True, False])
def test_a_graph_without_the_loop_operator(small_llava, tmp_path, loop_free):
    export(str(small_llava), tmp_path / "out", keep=8, loop_free=loop_free)
    kinds = [node.op_type for node in onnx.load(tmp_path / "out" / "model.onnx").graph.node]
    assert ("Loop" in kinds) is not loop_free


def test_validate_notices_a_changed_layer_that_only_the_pruner_reads(small_llava, tmp_path):
    model, out = shutil.copytree(small_llava, tmp_path / "model"), tmp_path / "out"
    export(model, out, pruner="prumerge", keep=8, formats=("torchscript",))
    validate(out, limit=1)
    tensors = load_file(model / "model.safetensors")
    (name,) = (name for name in tensors if name.endswith("layers.2.self_attn.k_proj.weight"))
    save_file({**tensors, name: tensors[name] + 1}, model / "model.safetensors")
    with pytest.raises(ArtefactError, match="made from other weights"):
        validate(out, limit=1)
