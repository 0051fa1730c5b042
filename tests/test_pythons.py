"""The core and one runtime on every Python that is allowed: `check` passes, catches a fault, explains a near-tie.

Needs interpreters beside the one that runs the tests, and an index of packages for them; skipped where they are not.
"""

import dataclasses
import json
import os
import shutil
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from tests.sealing import reseal
from tests.test_edge_install import call, environment_of
from vtp_export import rooms
from vtp_export.parity.golden import ARRAYS, RECORD, read_golden
from vtp_export.parity.witness import HEADROOM
from vtp_export.pipeline.export import export
from vtp_export.runtime.artefact import open_artefact
from vtp_export.runtime.changing import record_files, write_manifest

pytestmark = pytest.mark.whole

PYTHONS = ("3.10", "3.11", "3.12", "3.13")
RUNTIMES = {"onnxruntime": "onnx", "openvino": "openvino"}


def interpreter(version):
    """Of pyenv, or of the path; None where there is none that runs."""
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    known = [*sorted(root.glob(f"versions/{version}.*/bin/python")), Path(f"python{version}")]
    return next((str(path) for path in known if shutil.which(path)), None)


@pytest.fixture(scope="module", params=list(product(PYTHONS, RUNTIMES)), ids="-".join)
def machine(request, tmp_path_factory):
    """`vtp-export` of a fresh environment, and the format that runs there."""
    version, extra = request.param
    if (python := interpreter(version)) is None:
        pytest.skip(f"there is no Python {version} here")
    bin_, installed = environment_of(tmp_path_factory.mktemp("fresh"), f"[{extra}]", python=python)
    if "No matching distribution found" in installed.stderr:
        pytest.skip(f"not for Python {version}: {installed.stderr.strip().splitlines()[-1]}")
    assert installed.returncode == 0, installed.stderr
    present = f"import sys, {extra}; print(*sys.version_info[:2], sep='.')"
    assert call(bin_ / "python", "-c", present).stdout.strip() == version
    assert call(bin_ / "python", "-c", "import torch").returncode == 1
    return bin_ / "vtp-export", RUNTIMES[extra]


@pytest.fixture(scope="module")
def ranked(small_llava, tmp_path_factory):
    """Both formats of a method that keeps the largest weights."""
    out = tmp_path_factory.mktemp("pythons") / "ranked"
    formats = [fmt for fmt in RUNTIMES.values() if rooms.load("backends", fmt).Backend().missing() is None]
    export(small_llava, out, pruner="fastervlm", keep=8, golden=2, formats=formats)
    return out


@pytest.fixture(scope="module")
def faulty(small_llava, ranked, tmp_path_factory):
    """The same of a model in which one block is another."""
    model = shutil.copytree(small_llava, tmp_path_factory.mktemp("pythons") / "model")
    tensors = load_file(model / "model.safetensors")
    name = "vision_tower.vision_model.encoder.layers.0.mlp.fc2.weight"
    save_file({**tensors, name: -tensors[name]}, model / "model.safetensors")
    formats = open_artefact(ranked).manifest.formats()
    export(model, model / "out", pruner="fastervlm", keep=8, golden=0, formats=formats)
    return model / "out"


def near_tie(ranked, folder, share):
    """A copy whose record keeps the first token that is left out instead of the last that is kept.

    Args:
        ranked: what is copied.
        folder: of the copy.
        share: how much of what closes the gap between the two its noise is.
    """
    shutil.copytree(ranked, folder)
    artefact = open_artefact(folder)
    golden = read_golden(artefact)
    arrays = {name: array.copy() for name, array in golden.arrays.items()}
    saliency = arrays["signal.saliency"][0]
    order = np.argsort(-golden.signals(0, artefact.manifest.layout.candidates).saliency)
    last, left_out = order[7], order[8]
    gap = float(saliency[last] - saliency[left_out])
    saliency[[last, left_out]] = saliency[[left_out, last]]
    kept = np.where(arrays["output.kept"][0] == last, left_out, arrays["output.kept"][0])
    places = np.argsort(kept)
    arrays["output.kept"][0], arrays["output.tokens"][0] = kept[places], arrays["output.tokens"][0][places]
    np.savez(folder / ARRAYS, **arrays)
    reseal(folder / RECORD, lambda keys: keys["noise"].update(saliency=share * gap / (2 * HEADROOM)))
    files = record_files(folder, map(folder.joinpath, artefact.manifest.golden))
    write_manifest(folder, dataclasses.replace(artefact.manifest, golden=files))
    return folder


def checked(machine, ranked, folder, tmp_path, *, model=None):
    """Exit code and report of `check`; of a file in the place of the artefact's own, where one is given."""
    command, fmt = machine
    if fmt not in open_artefact(ranked).manifest.formats():
        pytest.skip(f"{fmt} cannot be built here")
    main = open_artefact(ranked).builds(fmt)[0].main
    chosen = ("--format", fmt) if model is None else ("--model", model / main)
    result = call(command, "check", folder, *chosen, "--json", cwd=tmp_path)
    assert result.returncode in (0, 1), result.stderr
    return result.returncode, json.loads(result.stdout)


def test_what_was_exported_passes(machine, ranked, tmp_path):
    code, report = checked(machine, ranked, ranked, tmp_path)
    assert (code, report["passed"]) == (0, True), report
    assert [(one["images"], one["identical"]) for one in report["comparisons"]] == [(2, 2)]


def test_a_fault_in_a_block_is_caught(machine, ranked, faulty, tmp_path):
    code, report = checked(machine, ranked, ranked, tmp_path, model=faulty)
    assert (code, report["passed"], report["pixels"]["passed"]) == (1, False, True)
    failures = report["comparisons"][0]["failures"]
    assert any("no rounding within the noise explains it" in failure for failure in failures), failures


@pytest.mark.parametrize(("share", "explained"), [(0.99, False), (1.01, True)])
def test_a_near_tie_is_explained_and_a_little_more_is_not(machine, ranked, tmp_path, share, explained):
    folder = near_tie(ranked, tmp_path / "near", share)
    code, report = checked(machine, ranked, folder, tmp_path, model=ranked)
    (difference,) = report["comparisons"][0]["differences"]
    assert (difference["witness"] is not None, code == 0) == (explained, explained), report
