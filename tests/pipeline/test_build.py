"""Formats that are built from an artefact: here TensorRT's, on the FAKE of it."""

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.tensorrt_api.fake_machine import World
from vtp_export import rooms
from vtp_export.cli import app
from vtp_export.errors import SpecError, UnknownNameError
from vtp_export.pipeline.build import build, buildable
from vtp_export.pipeline.export import export
from vtp_export.runtime.artefact import open_artefact


@pytest.fixture
def bare(artefact, tmp_path, monkeypatch):
    """A copy of the tiny artefact, on a machine that has the fake."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    World(monkeypatch)
    return Path(shutil.copytree(artefact, tmp_path / "artefact"))


@pytest.mark.parametrize("command", ["build", "plan"])
def test_both_names_are_one_command(bare, command):
    result = CliRunner().invoke(app, [command, str(bare), "--option", "workspace_gb=2", "--json"])
    assert result.exit_code == 0, result.output
    printed = json.loads(result.stdout)
    assert (printed["command"], printed["build"]["main"]) == ("build", "model.sm87.plan")
    (built,) = open_artefact(bare).builds("tensorrt")
    assert printed["build"]["files"]["model.sm87.plan"]["sha256"] == built.files["model.sm87.plan"].sha256
    assert built.engine is not None and built.engine.device == "a fake device"


def test_what_was_built_is_said(bare):
    result = CliRunner().invoke(app, ["build", str(bare)])
    assert "for tensorrt 10.3.0, compute capability 8.7, a fake device, linux-" in result.stdout


@pytest.mark.parametrize("fmt", [name for name in rooms.names("backends") if name not in buildable()])
def test_what_export_makes_is_not_built(artefact, fmt):
    expected = f"{fmt} is made from the model itself, by 'vtp-export export'; build makes: {', '.join(buildable())}"
    with pytest.raises(SpecError, match=expected):
        build(artefact, format=fmt)


def test_options_of_a_build_are_those_of_the_format(bare, small_llava, tmp_path):
    before = sorted(bare.iterdir())
    with pytest.raises(UnknownNameError, match="no option of building tensorrt named 'workspace'; did you mean 'works"):
        build(bare, options={"workspace": 2})
    with pytest.raises(UnknownNameError, match="no option of building onnx or tensorrt named 'cuda_graphs'"):
        export(small_llava, tmp_path / "out", formats=("onnx", "tensorrt"), options={"cuda_graphs": True})
    assert sorted(bare.iterdir()) == before and not (tmp_path / "out").exists()
