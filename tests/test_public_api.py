"""The names that users import, and that they cost nothing until used."""

import subprocess
import sys

import pytest

import vtp_export


def test_public_names():
    functions = {"calibrate", "compare", "export", "load", "validate"}
    assert set(vtp_export.__all__) == functions | {
        "CalibrateSpec",
        "CompareSpec",
        "ExportSpec",
        "ValidateSpec",
        "__version__",
    }
    for name in vtp_export.__all__:
        assert getattr(vtp_export, name) is not None
    assert callable(vtp_export.load)


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="no attribute 'exprot'"):
        vtp_export.exprot  # noqa: B018


def test_load_needs_no_torch():
    code = "import sys, vtp_export; vtp_export.load; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"
