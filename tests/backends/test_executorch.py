"""ExecuTorch: parts of a batch, the shared pool of threads, and what it says when it cannot."""

import importlib.metadata
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from vtp_export import rooms
from vtp_export.backends import executorch as room
from vtp_export.errors import ArtefactError, ExportError
from vtp_export.pipeline.build import build
from vtp_export.pipeline.check import check
from vtp_export.pipeline.export import export
from vtp_export.runtime.artefact import open_artefact
from vtp_export.runtime.brief import brief_of
from vtp_export.runtime.front_end import load

PIXELS = np.random.default_rng(0).standard_normal((5, 3, 42, 42), dtype=np.float32)


class Method:
    """Takes batches of two; tells how it was called."""

    def __init__(self):
        self.sizes = []

    def call(self, tensors):
        (pixels,) = tensors
        self.sizes.append(len(pixels))
        return [pixels.flatten(1).sum(1)]


@pytest.mark.parametrize("images", [1, 2, 3, 5])
def test_a_batch_runs_in_parts_and_the_last_is_filled_up(images, monkeypatch):
    call, method = object.__new__(room._InParts), Method()
    call._size = 2
    monkeypatch.setattr(call, "_ready", lambda: method, raising=False)
    pixels = torch.from_numpy(PIXELS[:images])
    (sums,) = call(pixels)
    assert torch.equal(sums, pixels.flatten(1).sum(1))
    assert method.sizes == [2] * ((images + 1) // 2)


def test_the_oldest_release_is_the_one_of_the_extra():
    pyproject = Path(__file__).parent.parent.parent / "pyproject.toml"
    assert f'executorch = ["executorch>={room.OLDEST}", ' in pyproject.read_text()


def test_an_old_release_is_one_sentence(monkeypatch):
    monkeypatch.setattr(room.importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "0.7.0")
    expected = r"executorch 0\.7\.0 is installed, and 1\.5 or newer is needed: pip install "
    assert re.match(expected, room.Backend().missing())


@pytest.fixture(scope="module")
def looped(small_llava, tmp_path_factory):
    """An artefact whose `.pt2` has the loop operator."""
    out = tmp_path_factory.mktemp("looped") / "out"
    export(small_llava, out, keep=8, pruner="fps", formats=("pt2",), golden=0)
    return out


@pytest.fixture(scope="module")
def lowered(small_llava, tmp_path_factory):
    pytest.importorskip("executorch")
    out = tmp_path_factory.mktemp("lowered") / "out"
    export(small_llava, out, keep=8, pruner="fastervlm", formats=("pt2", "executorch"), golden=0, batch=(2, 2, 5))
    return out


def test_a_file_with_loops_is_refused_with_the_remedy(looped):
    pytest.importorskip("executorch")
    with pytest.raises(ExportError, match=r"ExecuTorch has no loops, and model\.pt2 has; export it with --loop-free"):
        build(looped, format="executorch")


@pytest.mark.whole
@pytest.mark.parametrize("pruner", rooms.names("pruners"))
def test_every_method_keeps_of_photographs_what_the_graph_kept(tmp_path, pruner):
    """The trained model, 576 patches, 64 rounds of the greedy ones: a minute each, and ten for those of most rounds."""
    pytest.importorskip("executorch")
    keep = None if pruner == "none" else 64
    export("tiny-llava", tmp_path / "a", pruner=pruner, keep=keep, formats=("executorch",), batch=1)
    report = check(tmp_path / "a")
    assert report.passed, report.failures
    assert report.comparisons[0].identical == 8


def test_two_sizes_of_the_pool_at_once(lowered):
    """A method that was loaded with a pool that is gone would wait for ever."""
    with load(lowered, "pt2") as other:
        expected = other.run(PIXELS).kept
    with load(lowered, "executorch", threads=1) as one, load(lowered, "executorch", threads=2) as two:
        for front_end in (one, two, one, two):
            assert np.array_equal(front_end.run(PIXELS).kept, expected)


def test_a_file_that_is_cut_off_is_refused(lowered, tmp_path):
    folder, made = tmp_path / "a", open_artefact(lowered)
    shutil.copytree(lowered, folder)
    (folder / "model.pte").write_bytes((folder / "model.pte").read_bytes()[:5000])
    (record,) = made.builds("executorch")
    with pytest.raises(ArtefactError, match=r"ExecuTorch refuses model\.pte: "):
        room.Backend().open(folder, record, brief_of(made.manifest), "cpu", 1, room.Backend.Options())
