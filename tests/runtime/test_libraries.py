"""What a shared library is linked to, read without loading it."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from vtp_export.errors import ArtefactError
from vtp_export.runtime.libraries import needed, not_loadable, why_not_loadable

REAL = [Path(np._core._multiarray_umath.__file__), *sorted(Path(onnxruntime.__file__).parent.glob("capi/*.so"))]


def test_names_come_in_their_order(shared_library):
    path = shared_library("libx.so", "libnvinfer.so.10", "libc.so.6", "libcudart.so.13")
    assert needed(path) == ("libnvinfer.so.10", "libc.so.6", "libcudart.so.13")


def test_a_library_linked_to_nothing(shared_library):
    assert needed(shared_library("libx.so")) == ()


@pytest.mark.parametrize("path", REAL, ids=lambda path: path.name)
def test_a_real_library(path):
    assert "libc.so.6" in needed(path)
    assert not_loadable(path) == {}


@pytest.mark.skipif(shutil.which("readelf") is None, reason="readelf is not installed")
@pytest.mark.parametrize("path", REAL, ids=lambda path: path.name)
def test_a_real_library_read_by_another_program(path):
    lines = subprocess.run(["readelf", "-d", path], capture_output=True, text=True, check=True).stdout.splitlines()
    assert needed(path) == tuple(line.split("[")[1].rstrip("]") for line in lines if "(NEEDED)" in line)


def test_what_does_not_load_is_told_with_the_reason(shared_library):
    reasons = not_loadable(shared_library("libx.so", "libc.so.6", "libnowhere.so.7"))
    assert list(reasons) == ["libnowhere.so.7"]
    assert "cannot open shared object file" in reasons["libnowhere.so.7"]
    assert why_not_loadable("libc.so.6") is None


@pytest.mark.parametrize("content", [b"", b"\x7fELF\x01\x01" + bytes(60), b"#!/bin/sh", b"\x7fELF\x02\x01" + bytes(20)])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "x.so"
    path.write_bytes(content)
    with pytest.raises(ArtefactError, match="cannot be read as a shared library"):
        needed(path)


def test_a_damaged_table_is_refused(shared_library):
    path = shared_library("libx.so", "libc.so.6")
    data = bytearray(path.read_bytes())
    data[data.index(b"libc") - 1 + len(b"libc.so.6") + 2 + 16 + 8 + 2] = 9  # the table's address
    path.write_bytes(data)
    with pytest.raises(ArtefactError, match="string table"):
        needed(path)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ArtefactError, match="No such file"):
        needed(tmp_path / "x.so")
