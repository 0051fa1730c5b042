"""How to install what is missing, from wherever."""

import importlib.metadata

import pytest

from vtp_export.extras import install

REQUIRES = [
    "numpy>=1.26",
    "onnx>=1.16; extra == 'lint'",
    'a[b]>=2 ; python_version > "3" and extra == "both"',
    "c==1.*; extra == 'both'",
]


@pytest.mark.parametrize(("extra", "command"), [("lint", "'onnx>=1.16'"), ("both", "'a[b]>=2' 'c==1.*'")])
def test_the_libraries_of_an_extra_by_their_own_names(monkeypatch, extra, command):
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: REQUIRES)
    assert install(extra) == f"pip install {command}"


def test_where_nothing_is_known_the_clone_is(monkeypatch):
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: importlib.metadata.distribution("no such one"))
    assert install("lint") == "pip install '.[lint]' in a clone of vtp-export"
