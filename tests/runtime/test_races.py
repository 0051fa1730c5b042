"""Several processes at one artefact, and processes that are killed: the old one or the new one, whole."""

import errno
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from tests.runtime.test_artefact import IMPORTABLE, fill, left_beside
from vtp_export.errors import ArtefactError
from vtp_export.pipeline.calibrate import calibrate
from vtp_export.pipeline.compare import compare
from vtp_export.pipeline.run import run
from vtp_export.pipeline.validate import validate
from vtp_export.runtime import changing, locks, replacing, writing
from vtp_export.runtime.artefact import open_artefact, steadily
from vtp_export.runtime.changing import add_build, record_validation
from vtp_export.runtime.front_end import load
from vtp_export.spec import Build

ROOT = Path(__file__).parents[2]


@pytest.fixture
def made(tmp_path):
    with changing.writing(tmp_path / "art", force=False) as folder:
        fill(folder)
    return open_artefact(tmp_path / "art")


def replace(folder, other=None):
    """As `export --force` does."""
    with changing.writing(folder, force=True) as partial:
        if other is None:
            fill(partial, b"new")
        else:
            shutil.copytree(other, partial, dirs_exist_ok=True)


# One lock


def test_who_replaces_waits_for_who_writes(made):
    other = threading.Thread(target=replace, args=(made.folder,))
    with replacing.locked(made.folder):
        other.start()
        other.join(0.5)
        assert other.is_alive()
        assert (made.folder / "model.onnx.data").read_bytes() == b"weights"
        assert len(left_beside(made.folder)) == 1
    other.join()
    assert (made.folder / "model.onnx.data").read_bytes() == b"new"
    assert left_beside(made.folder) == []


def test_who_waited_for_the_lock_of_a_folder_that_was_replaced_takes_that_of_the_new_one(made):
    entered = threading.Event()

    def write():
        with replacing.locked(made.folder):
            entered.set()

    other = threading.Thread(target=write)
    old = locks.hold(made.folder)
    other.start()
    time.sleep(0.2)
    new = made.folder.with_name("new")
    shutil.copytree(made.folder, new)
    made.folder.rename(made.folder.with_name("old"))
    new.rename(made.folder)
    with replacing.locked(made.folder):
        os.close(old)
        assert not entered.wait(0.5)
    other.join()
    assert entered.is_set()


def other_promise(folder):
    """An artefact of another identity in the place of the one that is there."""
    with changing.writing(folder, force=True) as partial:
        fill(partial, b"other")
        manifest = open_artefact(partial).manifest
        changing.write_manifest(partial, type(manifest)(**{**vars(manifest), "versions": {"vtp_export": "1"}}))


def test_a_verdict_is_of_the_artefact_that_was_validated(made):
    other_promise(made.folder)
    before = (made.folder / "manifest.json").read_bytes()
    with pytest.raises(ArtefactError, match="art' was replaced meanwhile; start again"):
        record_validation(made, "onnx", {"passed": True})
    assert (made.folder / "manifest.json").read_bytes() == before


def test_a_verdict_is_of_the_files_that_were_validated(made):
    replace(made.folder)  # the same promise, other bytes
    with pytest.raises(ArtefactError, match="was replaced meanwhile"):
        record_validation(made, "onnx", {"passed": True})
    record_validation(made, "torchscript", {"passed": True})  # whose file is the same


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_build_is_not_added_to_another_artefact(made, when):
    def make(place):
        if when == "before":
            other_promise(made.folder)
        (place / "model.plan").write_bytes(b"plan")
        built = Build("tensorrt", "model.plan", changing.record_files(place, [Path("model.plan")]))
        if when == "after":
            other_promise(made.folder)
        return built

    with pytest.raises(ArtefactError, match="was replaced meanwhile; start again"):
        add_build(made, make, *made.builds("onnx"))
    assert open_artefact(made.folder).manifest.formats() == ["onnx", "torchscript"]
    assert left_beside(made.folder) == []


# Reading what is replaced


def test_what_was_read_of_a_replaced_artefact_does_not_count(made):
    seen, discarded = [], []

    def use(artefact):
        seen.append((artefact.folder / "model.onnx.data").read_bytes())
        if len(seen) == 1:
            replace(made.folder)
        return seen[-1]

    assert steadily(made.folder, use, discarded.append) == b"new"
    assert discarded == [b"weights"]


def test_what_fails_because_it_was_replaced_is_tried_again_and_what_is_damaged_is_not(made):
    tries = []

    def use(artefact):
        tries.append(artefact)
        if len(tries) == 1:
            replace(made.folder)
        artefact.verify()

    steadily(made.folder, use)
    assert len(tries) == 2
    (made.folder / "model.onnx").write_bytes(b"grapg")
    tries[:] = [None]
    with pytest.raises(ArtefactError, match="is damaged"):
        steadily(made.folder, use)
    assert len(tries) == 2


def test_an_artefact_that_is_never_the_same_is_one_sentence(made):
    numbers = iter(range(100))

    def use(artefact):
        with changing.writing(made.folder, force=True) as partial:
            fill(partial, b"%d" % next(numbers))

    with pytest.raises(ArtefactError, match="was replaced meanwhile, 3 times in a row; start again when its writer is"):
        steadily(made.folder, use)


EXCHANGING = """
import itertools, shutil, sys
from pathlib import Path
from vtp_export.runtime.changing import writing
for other in itertools.cycle(sys.argv[2:]):
    with writing(Path(sys.argv[1]), force=True) as partial:
        shutil.copytree(other, partial, dirs_exist_ok=True)
    print(other, flush=True)
"""


def test_a_model_is_opened_with_its_own_manifest_while_another_process_exchanges_them(
    artefact, other_artefact, tmp_path
):
    pixels = np.random.default_rng(0).standard_normal((1, 3, 42, 42), dtype=np.float32)
    expected = {}
    for folder in (artefact, other_artefact):
        with load(folder, "onnx") as opened:
            expected[opened.manifest.pruner.name] = opened.run(pixels)
    assert not np.array_equal(*(output.kept for output in expected.values()))
    folder = Path(shutil.copytree(artefact, tmp_path / "art"))
    command = [sys.executable, "-c", EXCHANGING, *map(str, (folder, other_artefact, artefact))]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=IMPORTABLE)
    opened_as, refusals = [], []
    try:
        child.stdout.readline()  # it has begun
        for _ in range(20):
            try:
                with load(folder, "onnx") as opened:
                    name = opened.manifest.pruner.name
                    assert np.array_equal(opened.run(pixels).kept, expected[name].kept)
                    opened_as.append(name)
            except ArtefactError as error:
                refusals.append(str(error))
    finally:
        child.kill()
        exchanges = child.communicate()[0].count("\n")
    assert exchanges > 5
    assert opened_as
    assert all("was replaced meanwhile, 3 times in a row" in refusal for refusal in refusals), refusals


def test_validation_of_an_artefact_that_is_replaced_is_told_and_not_recorded(artefact, other_artefact, tmp_path):
    folder = Path(shutil.copytree(artefact, tmp_path / "art"))

    def listen(text, done=0, total=0):
        if text == "comparing" and not done:
            replace(folder, other_artefact)

    result = validate(folder, formats=("onnx",), limit=2, progress=listen)
    assert result.passed
    assert result.notes[-1] == (
        f"the result was not recorded in the manifest: the artefact '{folder}' was replaced meanwhile; start again"
    )
    manifest = open_artefact(folder).manifest
    assert (manifest.pruner.name, manifest.validation) == ("random", {})


def test_validation_of_a_read_only_artefact_shows_its_result(artefact, tmp_path, monkeypatch):
    folder = Path(shutil.copytree(artefact, tmp_path / "art"))

    def refuse(target):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(writing, "_fresh", refuse)
    result = validate(folder, formats=("onnx",), limit=2)
    assert result.passed
    assert "not recorded in the manifest: cannot write" in result.notes[-1] and "Read-only file sy" in result.notes[-1]
    assert result.as_dict()["notes"] == result.notes


@pytest.mark.parametrize(
    "work",
    [
        lambda target, listen: validate("no artefact", report=target, progress=listen),
        lambda target, listen: compare("no model", 8, report=target, progress=listen),
        lambda target, listen: calibrate("no model", "photos", target, progress=listen),
        lambda target, listen: run("no artefact", ["a.png"], out=target, progress=listen),
        lambda target, listen: run("no artefact", ["a.png"], overlays=target, progress=listen),
    ],
    ids=["validate", "compare", "calibrate", "run", "overlays"],
)
def test_what_cannot_be_written_is_refused_before_the_work(work, tmp_path):
    (tmp_path / "file").touch()

    def listen(text, done=0, total=0):
        pytest.fail(f"work was begun: {text}")

    with pytest.raises(ArtefactError, match=r"cannot write .*file/target': Not a directory"):
        work(tmp_path / "file" / "target", listen)


# Folders that cannot be renamed


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (
            errno.EXDEV,
            "Invalid cross-device link; a folder that comes with a container's image cannot be renamed; remove",
        ),
        (errno.EBUSY, "resource busy; a folder that is mounted cannot be renamed; name one inside it"),
    ],
)
def test_a_folder_that_cannot_be_renamed_is_told_as_such(made, monkeypatch, number, words):
    def refuse(*_):
        raise OSError(number, os.strerror(number), str(made.folder))

    monkeypatch.setattr(replacing, "_rename_at_once", refuse)
    with pytest.raises(ArtefactError, match=words) as caught:
        replace(made.folder)
    assert "space" not in str(caught.value)
    made.verify()
    assert left_beside(made.folder) == []


def test_what_was_put_aside_comes_back(made):
    """After a death between the two steps, where the file system has no exchange."""
    made.folder.rename(made.folder.with_name(".art.replaced-0123abcd"))
    with pytest.raises(ArtefactError, match="already exists"), changing.writing(made.folder, force=False):
        pytest.fail("the block must not run")
    made.verify()
    assert left_beside(made.folder) == []


# Killed at every event

KILLING = """
import os, shutil, signal, sys
from pathlib import Path
from tests.runtime.test_artefact import fill, written
from vtp_export.runtime.artefact import open_artefact
from vtp_export.runtime.changing import add_build, record_validation, writing
from vtp_export.runtime import replacing, writing as files
os.fsync = lambda descriptor: None  # power does not fail here
if sys.argv[4] == "two steps": replacing._rename_at_once = lambda *_: False
home = Path(sys.argv[1]); art = home / "art"

def replace():
    with writing(art, force=True) as folder: fill(folder, b"new")
def validate():
    record_validation(open_artefact(art), "onnx", {"passed": True})
def build():
    add_build(open_artefact(art), lambda place: written(place, "tensorrt", "model.plan", content=os.urandom(4)))
action = {"replace": replace, "validate": validate, "build": build}[sys.argv[2]]

def ended(number):
    "What became of a child that is stopped at its event of that number."
    if child := os.fork(): return os.waitpid(child, 0)[1]
    count = 0
    def hook(event, _):
        nonlocal count
        if event.startswith(("open", "os.", "shutil.", "fcntl.", "ctypes.")):
            count += 1
            if count == number:
                if sys.argv[3] == "killed": os.kill(os.getpid(), signal.SIGKILL)
                raise KeyboardInterrupt
    sys.addaudithook(hook)
    try: action()
    except KeyboardInterrupt: os._exit(3)
    os._exit(0)

def strays():
    known = {"manifest.json", "model.onnx", "model.onnx.data", "model.ts", "model.plan"}
    return sorted({p.name for p in home.iterdir()} - {"art"} | {p.name for p in art.iterdir()} - known)

for number in range(1, 1000):
    shutil.rmtree(home, ignore_errors=True); home.mkdir()
    with writing(art, force=False) as folder: fill(folder)
    if sys.argv[2] == "build": build()
    status = ended(number)
    if sys.argv[4] != "two steps" or art.exists(): open_artefact(art).verify()
    if sys.argv[3] != "killed": assert not strays(), (number, strays())
    action_after = action if art.exists() else replace
    action_after()
    open_artefact(art).verify()
    assert not strays(), (number, strays())
    if status == 0: break
print(number)
"""


@pytest.mark.parametrize("how", ["killed", pytest.param("interrupted", marks=pytest.mark.whole)])
@pytest.mark.parametrize(
    ("action", "steps"),
    [
        ("replace", "exchange"),
        pytest.param("replace", "two steps", marks=pytest.mark.whole),
        ("validate", ""),
        ("build", ""),
    ],
)
def test_who_is_stopped_at_any_event_leaves_the_old_or_the_new_and_the_next_sweeps(tmp_path, action, steps, how):
    command = [sys.executable, "-c", KILLING, str(tmp_path / "home"), action, how, steps]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=IMPORTABLE)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 10
