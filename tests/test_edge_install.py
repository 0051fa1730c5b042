"""An edge device: the wheel with its core and [onnxruntime] alone runs an artefact, without torch."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parent.parent
WHEELHOUSE = Path(sys.prefix) / "wheelhouse"


def call(*command, **options):
    environment = {**os.environ, "PYTHONPATH": "", "COLUMNS": "160"}
    return subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, env=environment, check=False, **options
    )


def wheel_of(folder):
    """The package, built into a folder."""
    built = call(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", folder, ROOT)
    assert built.returncode == 0, built.stderr
    (wheel,) = folder.glob("vtp_export-*.whl")
    return wheel


def environment_of(folder, extra="", *pinned, python=sys.executable):
    """`bin/` of a fresh virtual environment with the wheel, an extra and pinned packages in it, and what pip said."""
    wheel = wheel_of(folder)
    made = call(python, "-m", "venv", folder / "venv")
    assert made.returncode == 0, made.stderr
    # `make` fills the wheelhouse for its own Python, so that this needs no network; without it pip asks its index.
    offline = ["--no-index", "--find-links", WHEELHOUSE] if WHEELHOUSE.is_dir() and python == sys.executable else []
    bin_ = folder / "venv" / "bin"
    return bin_, call(bin_ / "python", "-m", "pip", "install", "-q", *offline, f"{wheel}{extra}", *pinned)


@pytest.fixture(scope="module")
def edge(tmp_path_factory):
    """`bin/` of what a board has."""
    bin_, installed = environment_of(tmp_path_factory.mktemp("edge"), "[onnxruntime]")
    assert installed.returncode == 0, installed.stderr
    return bin_


def test_there_is_no_torch(edge):
    found = call(edge / "python", "-c", "import importlib.util as u; print(u.find_spec('torch'))", cwd=edge)
    assert found.stdout.strip() == "None"


def test_run_inspect_and_bench(edge, artefact, tmp_path):
    photo = tmp_path / "photo.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 48, 3), dtype=np.uint8)).save(photo)
    run = call(edge / "vtp-export", "run", artefact, photo, "--overlay", tmp_path / "o", "--json", cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout)["images"][0]["num_kept"] == 8
    assert len(list((tmp_path / "o").iterdir())) == 1
    inspected = call(edge / "vtp-export", "inspect", artefact, "--json", cwd=tmp_path)
    assert inspected.returncode == 0, inspected.stderr
    obstacles = json.loads(inspected.stdout)["obstacles"]
    assert obstacles["onnx"] is None
    assert "'torch>=" in obstacles["torchscript"]
    bench = call(edge / "vtp-export", "bench", artefact, "--rounds", "2", "--json", cwd=tmp_path)
    assert bench.returncode == 0, bench.stderr
    assert [row["name"].split()[-1] for row in json.loads(bench.stdout)["timings"]] == ["onnx"]
    assert "torchscript is left out: torch is not installed" in bench.stderr


def test_check_needs_nothing_more(edge, artefact, tmp_path):
    result = call(edge / "vtp-export", "check", artefact, "--json", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    told = json.loads(result.stdout)
    assert [(one["images"], one["identical"]) for one in told["comparisons"]] == [(8, 8)]
    assert [(one["images"], one["identical"]) for one in told["batches"]] == [(14, 14)]
    assert ["torchscript was not checked: torch is not installed" in note for note in told["notes"]] == [True]
    copied = shutil.copyfile(artefact / "model.onnx", tmp_path / "another.onnx")
    other = call(edge / "vtp-export", "check", artefact, "--model", copied, "--json", cwd=tmp_path)
    assert (other.returncode, json.loads(other.stdout)["passed"]) == (0, True), other.stderr
    ran = call(edge / "vtp-export", "run", artefact, artefact / "golden" / "00.png", "--json", cwd=tmp_path)
    assert json.loads(ran.stdout)["checked"] == "passed"


def test_the_doctor_needs_nothing_more(edge, artefact, tmp_path):
    result = call(edge / "vtp-export", "doctor", artefact, "--json", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    told = json.loads(result.stdout)
    verdicts = {finding["what"]: finding["verdict"] for finding in told["findings"]}
    assert verdicts["ONNX Runtime on cpu"] == "runs"
    assert "'torch>=" in verdicts["to export"]
    assert told["formats"]["onnx"] is None
    assert "torch is not installed" in told["formats"]["torchscript"]


@pytest.mark.parametrize("command", ["export", "validate", "run-torchscript"])
def test_what_needs_torch_says_so(edge, artefact, tmp_path, command):
    arguments = {
        "export": ["export", "toy", "--out", tmp_path / "a"],
        "validate": ["validate", artefact, "--benchmark", tmp_path],
        "run-torchscript": ["bench", artefact, "--format", "torchscript"],
    }[command]
    Image.new("RGB", (8, 8)).save(tmp_path / "p.png")
    result = call(edge / "vtp-export", *arguments, cwd=tmp_path)
    assert result.returncode == 2, result.stderr
    assert "pip install 'huggingface-hub>=" in result.stderr and "'torch>=" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "a").exists()


def test_help_and_import_are_quick_because_they_are_light(edge, tmp_path):
    """No time is asserted: what costs time is not imported."""
    code = "import sys, vtp_export.cli; print(sorted({'numpy', 'PIL', 'onnxruntime', 'rich.table'} & set(sys.modules)))"
    light = call(edge / "python", "-c", code, cwd=tmp_path)
    assert light.stdout.strip() == "[]", light.stderr
    assert call(edge / "vtp-export", "--help", cwd=tmp_path).returncode == 0
