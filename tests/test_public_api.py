"""The names that users import, what they take, and that they cost nothing until used."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import vtp_export
from vtp_export import errors

FUNCTIONS = {"build", "calibrate", "check", "compare", "explain", "export", "load", "push", "validate"}
RECORDS = {
    "BuildReport",
    "CalibrationRecord",
    "CheckReport",
    "CompareReport",
    "ExplainReport",
    "ExportReport",
    "Kept",
    "Manifest",
    "Output",
    "Picture",
    "Precision",
    "PrunedArtefact",
    "PrunedGrids",
    "PushReport",
    "ValidationReport",
}


def test_public_names():
    raised = {
        name for name, _ in inspect.getmembers(errors, inspect.isclass) if issubclass(getattr(errors, name), Exception)
    }
    assert set(vtp_export.__all__) == FUNCTIONS | RECORDS | raised | {"__version__"}
    assert dir(vtp_export) == sorted(vtp_export.__all__)
    for name in vtp_export.__all__:
        assert getattr(vtp_export, name) is not None
    assert all(callable(getattr(vtp_export, name)) for name in FUNCTIONS)


def test_type_checkers_see_the_same_homes():
    tree = ast.parse(Path(vtp_export.__file__).read_text())
    (seen,) = [node for node in tree.body if isinstance(node, ast.If)]
    homes = {
        alias.name: node.module.removeprefix("vtp_export.")
        for node in seen.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert homes == vtp_export._HOMES


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="no attribute 'exprot'"):
        vtp_export.exprot  # noqa: B018


@pytest.mark.parametrize("name", ["load", "Output", "Manifest", "UnknownNameError", "build"])
def test_what_an_edge_device_uses_needs_no_torch(name):
    code = f"import sys, vtp_export; vtp_export.{name}; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"


def test_from_export_to_tokens_with_texts_for_paths(small_llava, tmp_path, monkeypatch):
    """As the README has it, from the top of the package, in the current folder."""
    monkeypatch.chdir(tmp_path)
    report = vtp_export.export(str(small_llava), "out", keep=6, settings={"complexity": "entropy"}, batch=2)
    assert isinstance(report, vtp_export.ExportReport)
    assert (report.manifest.batch.min, report.manifest.batch.max) == (2, 2)
    assert vtp_export.validate("out", limit=2, report="report").passed
    assert Path("report", "index.html").exists()
    with pytest.raises(vtp_export.SpecError, match="threads is 0"):
        vtp_export.load("out", threads=0)
    with vtp_export.load("out", device="cpu", threads=1) as front_end:
        output = front_end([Image.new("RGB", (40, 30), "teal")] * 2)
    assert isinstance(output[1], vtp_export.Kept)
    assert output[1].tokens.shape == (6, 48)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"keep": 4, "settings": {"keep": 5}}, "keep is there twice, as 4 and among the settings as 5"),
        ({"batch": 0}, "batch is 0; it must be at least 1"),
        ({"batch": (1, 4, 2)}, "batch is 1:4:2"),
        ({"precision": "fp8"}, "precision is 'fp8'; it must be one of: fp32, fp16, bf16, int8"),
        ({"formats": ()}, "no format was named"),
        ({"formats": ("onx",)}, "did you mean 'onnx'"),
    ],
)
def test_what_export_refuses(options, words, tmp_path):
    with pytest.raises(vtp_export.VtpError, match=words):
        vtp_export.export("toy", tmp_path / "out", **options)
    assert list(tmp_path.iterdir()) == []
