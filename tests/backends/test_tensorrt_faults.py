"""What goes wrong around a plan, through the FAKE of both majors: kills, damaged timings, other GPUs, lost errors."""

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import pytest

from tests.tensorrt_api import fake_tensorrt
from tests.tensorrt_api.fake_machine import World
from vtp_export.backends._tensorrt_run import TensorrtSession
from vtp_export.errors import ArtefactError, UnavailableError, VtpWarning
from vtp_export.pipeline.bench import bench
from vtp_export.pipeline.build import build
from vtp_export.pipeline.inspect import inspect
from vtp_export.runtime import changing
from vtp_export.runtime.artefact import open_artefact
from vtp_export.runtime.brief import brief_of
from vtp_export.runtime.changing import ADDING, record_validation
from vtp_export.runtime.front_end import load

ROOT = Path(__file__).parent.parent.parent
PLAN = "model.sm87.plan"


@pytest.fixture(params=fake_tensorrt.VERSIONS)
def world(request, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return World(monkeypatch, request.param)


@pytest.fixture
def bare(artefact, tmp_path):
    """A copy of the tiny artefact."""
    return Path(shutil.copytree(artefact, tmp_path / "artefact"))


@pytest.fixture
def planned(bare, world):
    """The same with a plan for the fake device."""
    build(bare)
    return bare


@pytest.fixture
def timings(tmp_path, world):
    """Where timings of kernels are kept."""
    return tmp_path / "cache" / "vtp-export" / f"timings-tensorrt-{world.fake.version}-sm87.cache"


def pixels(batch, seed=0):
    return np.random.default_rng(seed).standard_normal((batch, 3, 42, 42), dtype=np.float32)


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# --- a killed build ---------------------------------------------------------------------------------------------------

BUILDING = """
import os, signal, sys
from pathlib import Path
from tests.tensorrt_api.fake_machine import ForGood, World
World(ForGood())
from vtp_export.pipeline.build import build
from vtp_export.runtime import changing
folder, moment, force = Path(sys.argv[1]), sys.argv[2], sys.argv[3] == "True"
def die(*_): os.kill(os.getpid(), signal.SIGKILL)
write, times = changing.write_manifest, []
def dying_write(*given):
    times.append(1)
    if moment == "at its end" and len(times) == 1 + force: die()
    write(*given)
changing.write_manifest = dying_write
def listen(text, done=0, total=0):
    if moment == "in the middle" and done: die()
build(folder, options={"workspace_gb": 2} if force else {}, force=force, progress=listen)
"""


def killed_build(folder, moment, force, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(tmp_path / "other-cache")}
    command = [sys.executable, "-W", "ignore", "-c", BUILDING, str(folder), moment, str(force)]
    child = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=ROOT)
    assert child.returncode == -signal.SIGKILL, child.stderr


@pytest.mark.parametrize("moment", ["in the middle", "at its end"])
def test_a_killed_build_leaves_the_artefact_as_it_was(bare, tmp_path, moment):
    before = contents(bare)
    killed_build(bare, moment, False, tmp_path)
    assert {name: (bare / name).read_bytes() for name in before} == before
    open_artefact(bare).verify()
    with load(bare, "onnx") as opened:
        opened.run(pixels(1))


def test_a_killed_replacement_keeps_the_old_plan(bare, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    World(monkeypatch)
    build(bare)
    before = contents(bare)
    killed_build(bare, "in the middle", True, tmp_path)
    assert {name: (bare / name).read_bytes() for name in before} == before
    # In the instant of the exchange the old plan is withdrawn first, so that no manifest tells of other bytes.
    killed_build(bare, "at its end", True, tmp_path)
    open_artefact(bare).verify()
    assert open_artefact(bare).manifest.formats() == ["onnx", "torchscript"]


def test_what_a_killed_build_left_is_removed_and_what_a_living_one_fills_is_not(bare, world, tmp_path):
    killed_build(bare, "in the middle", False, tmp_path)
    (left,) = bare.glob(f"{ADDING}*")
    os.utime(left, (time.time() - 100, time.time() - 100))

    def listen(text, done=0, total=0):
        (living,) = bare.glob(f"{ADDING}*")
        assert living != left
        os.utime(living, (time.time() - 100, time.time() - 100))
        if done == 0 and text.endswith("Timing"):
            build(bare)  # another build meanwhile

    build(bare, force=True, progress=listen)
    assert not list(bare.glob(f"{ADDING}*"))
    open_artefact(bare).verify()


def test_a_new_plan_is_not_said_to_be_validated(planned, world):
    record_validation(open_artefact(planned), "tensorrt", {"cosine": 1.0})
    record_validation(open_artefact(planned), "onnx", {"cosine": 1.0})
    build(planned, force=True)
    assert set(open_artefact(planned).manifest.validation) == {"onnx"}


def test_an_artefact_that_cannot_be_written_is_one_sentence(bare, world, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(changing, "fresh_folder", full)
    with pytest.raises(ArtefactError, match=r"cannot write .*: No space left"):
        build(bare)


# --- the engine -------------------------------------------------------------------------------------------------------


def test_the_plan_carries_the_identity_of_the_manifest(planned):
    built = pickle.loads((planned / PLAN).read_bytes()[len(fake_tensorrt.MAGIC) : -32])
    assert built["name"] == open_artefact(planned).manifest.identity()


def test_a_captured_context_is_never_changed(planned, world):
    artefact = open_artefact(planned)
    (built,), brief = artefact.builds("tensorrt"), brief_of(artefact.manifest)
    with load(planned, "onnx") as reference, TensorrtSession(world.fake.module, planned, built, brief, True) as session:
        for turn in range(9):
            given = pixels(1 + turn % 3, turn)
            assert np.array_equal(session.run({"pixel_values": given})["kept"], reference.run(given).kept)
        assert world.device.launches == 6
    assert not world.device.graphs and not world.device.memory and not world.device.streams


def test_a_failed_opening_gives_everything_back(planned, world):
    world.device.capacity = 100_000  # the input of 16 images takes 338,688 bytes
    with pytest.raises(UnavailableError, match="cudaErrorMemoryAllocation"):
        load(planned, "tensorrt")
    assert not world.device.memory and not world.device.streams
    world.device.capacity = 2**30
    world.become(world.fake.version, no_context=True)
    with pytest.raises(UnavailableError, match="cannot make an execution context"):
        load(planned, "tensorrt")
    assert not world.device.memory and not world.device.streams


def test_a_run_after_a_failed_one(planned, world):
    with load(planned, "tensorrt") as opened:
        expected = opened.run(pixels(2)).tokens
        world.fake.faults.refuse_run = True
        with pytest.raises(ArtefactError, match="could not run the plan"):
            opened.run(pixels(1))
        world.fake.faults.refuse_run = False
        assert np.array_equal(opened.run(pixels(2)).tokens, expected)


# --- who may run it ---------------------------------------------------------------------------------------------------


def test_a_plan_of_another_gpu_is_passed_over(planned, world):
    world.become(world.fake.version, (9, 0))
    with load(planned) as opened:
        assert opened.format == "onnx"
    assert "here is 9.0" in inspect(planned).obstacles["tensorrt"]
    with pytest.warns(VtpWarning, match="tensorrt is left out: .*here is 9.0"):
        rows = bench((planned,), rounds=1).timings
    assert not [row for row in rows if "tensorrt" in row.name]


def test_a_machine_without_its_gpu_runs_the_rest(planned, world):
    world.device.absent = True
    with load(planned) as opened:
        assert opened.format == "onnx"
    with pytest.raises(UnavailableError, match="CUDA says: cudaErrorNoDevice"):
        load(planned, "tensorrt")


def test_a_plan_is_not_chosen_for_another_device(planned):
    with load(planned, device="cpu") as opened:
        assert opened.format == "onnx"
    with pytest.warns(VtpWarning, match="tensorrt is left out: "):
        rows = bench((planned,), rounds=1, device="cpu").timings
    assert rows and not [row for row in rows if "tensorrt" in row.name]


class Broken:
    """Finds a module that cannot be loaded."""

    def find_spec(self, name, path=None, target=None):
        return ModuleSpec(name, self) if name == "tensorrt" else None

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        raise ImportError("libnvinfer.so.10: cannot open shared object file:\n  No such file or directory")


def test_bindings_without_their_libraries_are_one_sentence(planned, monkeypatch):
    monkeypatch.delitem(sys.modules, "tensorrt")
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    with load(planned) as opened:
        assert opened.format == "onnx"
    with pytest.raises(UnavailableError, match=r"cannot be loaded \(libnvinfer.*directory\): its native libraries"):
        load(planned, "tensorrt")


# --- progress and timings ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", ["Building Engine", "Timing"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_what_progress_raises_stops_the_build_and_is_raised(bare, world, phase, error):
    before = contents(bare)

    def listen(text, done=0, total=0):
        if text == f"TensorRT: {phase}":
            raise error("the bar broke")

    with pytest.raises(error, match="the bar broke"):
        build(bare, progress=listen)
    assert contents(bare) == before


@pytest.mark.parametrize("content", [b"rubbish", b"made on another device|and its timings"])
def test_timings_that_cannot_be_used_are_begun_anew(bare, timings, content):
    timings.parent.mkdir(parents=True)
    timings.write_bytes(content)
    build(bare)
    assert timings.read_bytes().startswith(b"made on 1")
    assert b"and its timings" not in timings.read_bytes()


def test_timings_that_cannot_be_kept_cost_no_build(bare, world, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    told = []
    build(bare, progress=lambda text, done=0, total=0: told.append(text))
    assert [text for text in told if "are not kept" in text and "Not a directory" in text]
    open_artefact(bare).verify()
    assert "tensorrt" in open_artefact(bare).manifest.formats()


MERGING = """
import sys, time
from pathlib import Path
from tests.tensorrt_api.fake_machine import ForGood, World
world = World(ForGood())
from vtp_export.backends import _tensorrt_timings as timings
from vtp_export.backends._tensorrt_build import logger
read = timings._read
timings._read = lambda cache: (read(cache), time.sleep(0.01))[0]  # so that the other comes in between
builder = world.fake.module.Builder(logger(world.fake.module))
cache = Path(sys.argv[1])
for turn in range(15):
    config = builder.create_builder_config()
    config.set_timing_cache(config.create_timing_cache(b""), False)
    config._cache._timings.add(f"{sys.argv[2]} {turn}".encode())
    timings.merge_timings(config, cache)
"""


def test_two_processes_lose_none_of_their_timings(tmp_path):
    cache = tmp_path / "deep" / "timings"
    commands = [[sys.executable, "-W", "ignore", "-c", MERGING, str(cache), name] for name in ("one", "other")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    children = [subprocess.Popen(command, env=environment, cwd=ROOT) for command in commands]
    assert [child.wait() for child in children] == [0, 0]
    expected = {f"{name} {turn}" for name in ("one", "other") for turn in range(15)}
    assert set(cache.read_text().split("|")[1:]) == expected
    assert [path.name for path in cache.parent.iterdir()] == ["timings"]


def test_the_report_of_the_layers_is_no_model_file(planned):
    (built,) = open_artefact(planned).builds("tensorrt")
    assert (built.main, sorted(built.files)) == (PLAN, ["model.sm87.layers.json", PLAN])
    assert json.loads((planned / "model.sm87.layers.json").read_text())["Layers"]
