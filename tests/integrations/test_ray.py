"""A cluster gives the record that one process gives, and a worker that is killed loses nothing.

Ray is no part of what development installs: these run where it is, and are skipped elsewhere.
"""

import contextlib
import importlib.util
import shutil
import tempfile
import threading
import time

import psutil
import pytest

from vtp_export.calibration.columns import columns_beside
from vtp_export.errors import ImageError, SpecError, UnavailableError
from vtp_export.integrations.ray import cluster
from vtp_export.pipeline.calibrate import calibrate

needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="needs the extra [ray], in an environment of its own"
)
LIMIT = 48


@pytest.fixture
def small(monkeypatch):
    """Two workers, a little memory, and a short path: sockets have no room for a long one."""
    folder = tempfile.mkdtemp(prefix="r", dir="/tmp")
    monkeypatch.setenv("RAY_TMPDIR", folder)
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("RAY_OVERRIDE_RESOURCES", '{"CPU": 2}')
    yield
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    out = tmp_path_factory.mktemp("one") / "record.json"
    return calibrate("tiny-llava", "shapes", out, limit=LIMIT, threads=1), out


def kill_one(killed):
    """One worker, as soon as there is one at work."""
    end = time.monotonic() + 100
    while time.monotonic() < end and not killed:
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if "::calibrating" in " ".join(process.cmdline()) and not killed:
                    process.kill()
                    killed.append(process.pid)
        time.sleep(0.1)


@needs_ray
@pytest.mark.whole
@pytest.mark.parametrize("kill", [False, True], ids=["whole", "killed"])
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::FutureWarning", "ignore::DeprecationWarning")
def test_a_cluster_gives_the_record_of_one_process(one, tmp_path, small, kill):
    killed = []
    thread = threading.Thread(target=kill_one, args=(killed,), daemon=True)

    def listen(text, done=0, total=0):
        if kill and text == "measuring" and not thread.is_alive() and not killed:
            thread.start()

    record = calibrate(
        "tiny-llava", "shapes", tmp_path / "c.json", limit=LIMIT, threads=1, ray="local", progress=listen
    )
    assert bool(killed) == kill
    assert record == one[0]
    assert (tmp_path / "c.json").read_bytes() == one[1].read_bytes()
    assert columns_beside(tmp_path / "c.json").read_bytes() == columns_beside(one[1]).read_bytes()


@needs_ray
@pytest.mark.whole
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::FutureWarning", "ignore::DeprecationWarning")
def test_an_error_of_a_task_is_the_sentence_that_it_is_elsewhere(tmp_path, small):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(4):
        (folder / f"{number}.png").write_text("no image")
    with pytest.raises(ImageError, match="of 4 images cannot be read"):
        calibrate("toy", folder, tmp_path / "c.json", ray="local", threads=1)
    with pytest.raises(UnavailableError, match=r"no Ray cluster at '127.0.0.1:1'"), cluster("127.0.0.1:1"):
        pass


def test_without_ray_it_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr("vtp_export.integrations.ray.importlib.util.find_spec", lambda name: None)
    with pytest.raises(UnavailableError, match="--ray needs Ray: pip install"), cluster("local"):
        pass
    with pytest.raises(SpecError, match="Ray shares the work out by itself; leave shard out"):
        calibrate("toy", "shapes", tmp_path, shard=(1, 2), ray="local")
