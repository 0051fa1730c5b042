"""The oldest libraries that this package allows, all at once: an artefact of 576 patches runs and is proved there."""

import json
import re

import pytest
import tomllib

from tests.test_edge_install import ROOT, call, environment_of
from vtp_export import rooms
from vtp_export.pipeline.export import export
from vtp_export.pipeline.lint import lint

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
BOUNDS = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["onnxruntime"]]


@pytest.fixture(scope="module")
def oldest(tmp_path_factory):
    """`bin/` of a fresh virtual environment with the wheel and the lower bound of all that it needs."""
    pinned = [bound.replace(">=", "==") for bound in BOUNDS]
    bin_, installed = environment_of(tmp_path_factory.mktemp("oldest"), "", *pinned)
    if "No matching distribution found" in installed.stderr:
        pytest.skip(f"not for this Python: {installed.stderr.strip().splitlines()[-1]}")
    assert installed.returncode == 0, installed.stderr
    return bin_


def prove(oldest, artefact):
    """`check` passes: every image keeps the same tokens, or rounding explains why not."""
    result = call(oldest / "vtp-export", "check", artefact, "--json", cwd=oldest)
    assert result.returncode == 0, result.stdout + result.stderr
    (comparison,) = json.loads(result.stdout)["comparisons"]
    assert (comparison["name"], comparison["images"] > 0) == ("onnx against the graph at the export", True)


def test_the_wheelhouse_has_what_the_project_allows():
    listed = re.search(r"^OLDEST := (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)[1]
    allowed = [re.fullmatch(r"([a-z]+)>=([0-9.]+)", bound).groups() for bound in BOUNDS]
    assert [
        (name, number.removesuffix(".0")) for name, number in (one.split("==") for one in listed.split())
    ] == allowed


@pytest.mark.whole
def test_the_usual_artefact_runs_and_is_proved(oldest, embedded_artefact):
    assert lint(embedded_artefact, ["onnxruntime-1.18"])[0].findings == ()
    version = call(
        oldest / "python", "-c", "import onnxruntime, numpy; print(onnxruntime.__version__, numpy.__version__)"
    )
    assert version.stdout.split() == ["1.18.0", "1.26.0"]
    prove(oldest, embedded_artefact)


@pytest.mark.whole
@pytest.mark.parametrize("pruner", [name for name in rooms.names("pruners") if name != "adaptive"])
def test_every_pruner_runs_and_is_proved(oldest, tmp_path, pruner):
    """576 patches: with fewer, constants are folded away for which there may be no kernel."""
    export("tiny-llava", tmp_path / "a", pruner=pruner, golden=2)
    assert lint(tmp_path / "a", ["onnxruntime-1.18"])[0].findings == ()
    prove(oldest, tmp_path / "a")
