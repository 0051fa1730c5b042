"""Formats that are built from an artefact: on the FAKE of TensorRT, and a throw-away one as CONTRIBUTING tells."""

import json
import os
import shutil
import subprocess
import sys
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

PACKAGE = rooms.PACKAGE


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
    expected = f"{fmt} is made from the model itself, by 'vtp-export export'; build makes: tensorrt"
    with pytest.raises(SpecError, match=expected):
        build(artefact, format=fmt)


def test_options_of_a_build_are_those_of_the_format(bare, small_llava, tmp_path):
    before = sorted(bare.iterdir())
    with pytest.raises(UnknownNameError, match="no option of building tensorrt named 'workspace'; did you mean 'works"):
        build(bare, options={"workspace": 2})
    with pytest.raises(UnknownNameError, match="no option of building onnx or tensorrt named 'cuda_graphs'"):
        export(small_llava, tmp_path / "out", formats=("onnx", "tensorrt"), options={"cuda_graphs": True})
    assert sorted(bare.iterdir()) == before and not (tmp_path / "out").exists()


ZIPPED = '''
"""The ONNX file, zipped."""

import gzip
import tempfile
from dataclasses import dataclass
from pathlib import Path

from vtp_export import rooms
from vtp_export.backends import base
from vtp_export.settings import between


@dataclass(frozen=True)
class ZipOptions(base.FormatOptions):
    """How it is zipped.

    level: how hard it tries.
    """

    level: int = between(6, 1, 9, source="gzip")


class Backend(base.Backend):
    devices = ("cpu",)
    rank = 15
    source = "onnx"
    main = "model.zipped"
    BuildOptions = ZipOptions

    def missing(self):
        return None

    def build(self, source, brief, folder, progress):
        progress("zipping")
        (folder / self.main).write_bytes(gzip.compress(source.read_bytes(), brief.options.level))
        return self.built(folder)

    def open(self, folder, build, brief, device, threads, options):
        plain = rooms.load("backends", "onnx").Backend()
        with tempfile.TemporaryDirectory() as place:
            (Path(place) / plain.main).write_bytes(gzip.decompress((folder / build.main).read_bytes()))
            unzipped = plain.built(Path(place))
            return plain.open(Path(place), unzipped, brief, device, threads, plain.Options())
'''


@pytest.fixture(scope="module")
def extended(tmp_path_factory):
    """Runs the command line of a copy of the package that has one file more."""
    home = tmp_path_factory.mktemp("extended")
    shutil.copytree(PACKAGE, home / "vtp_export", ignore=shutil.ignore_patterns("weights", "__pycache__"))
    (home / "vtp_export" / "backends" / "zipped.py").write_text(ZIPPED)

    def run(*arguments, code=0):
        command = [sys.executable, "-W", "ignore", "-m", "vtp_export", *map(str, arguments)]
        environment = {**os.environ, "PYTHONPATH": str(home), "COLUMNS": "300"}
        done = subprocess.run(command, env=environment, cwd=home, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr
        return done.stdout + done.stderr

    return run


def test_a_format_is_one_file(extended, artefact, small_llava, tmp_path):
    folder, picture = tmp_path / "artefact", tmp_path / "picture.png"
    shutil.copytree(artefact, folder)
    from PIL import Image

    Image.effect_noise((60, 50), 90).convert("RGB").save(picture)
    assert "The ONNX file, zipped." in extended("list", "backends")
    assert "did you mean 'level'" in extended("build", folder, "--format", "zipped", "--option", "levl=9", code=2)
    extended("build", folder, "--format", "zipped", "--option", "level=9")
    kept = [
        json.loads(extended("run", folder, picture, *given, "--json", "-q"))["images"]
        for given in ((), ("--format", "zipped"), ("--format", "onnx"))  # it ranks before onnx
    ]
    assert kept[0] == kept[1] == kept[2]
    assert "zipped runs on cpu, not on cuda" in extended(
        "run", folder, picture, "-f", "zipped", "--device", "cuda", code=2
    )
    assert "model.zipped" in extended("inspect", folder)
    out = tmp_path / "both"
    extended("export", small_llava, "--keep", 4, "-f", "onnx", "-f", "zipped", "--option", "level=1", "--out", out)
    assert open_artefact(out).manifest.formats() == ["onnx", "zipped"]
    assert sorted(path.name for path in out.iterdir()) == ["manifest.json", "model.onnx", "model.zipped"]
