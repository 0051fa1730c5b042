import contextlib
import dataclasses
import errno
import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import vtp_export
from vtp_export.errors import ArtefactError
from vtp_export.runtime import artefact, replacing
from vtp_export.runtime.artefact import (
    Artefact,
    open_artefact,
    record_files,
    record_validation,
    write_manifest,
    writing,
)
from vtp_export.spec import (
    BatchRange,
    Candidates,
    FileRecord,
    Layout,
    Manifest,
    ModelRecord,
    PrecisionRecord,
    Preprocessing,
    PrunerRecord,
    TensorSpec,
    to_json,
)

IMPORTABLE = {**os.environ, "PYTHONPATH": str(Path(vtp_export.__file__).parents[1])}


def manifest(files: dict[str, FileRecord] | None = None) -> Manifest:
    return Manifest(
        model=ModelRecord("tiny", None, "llava", "0" * 64, 8, "cls"),
        pruner=PrunerRecord("none", {"keep": 4}, {}, ascending=True),
        layout=Layout(Candidates((2, 2)), (28, 28), 4, 4),
        inputs=(TensorSpec("pixel_values", "float32", ("b", 3, 8, 8)),),
        outputs=(TensorSpec("tokens", "float32", ("b", 4, 2)),),
        preprocessing=Preprocessing(8, None, 3, (8, 8), 1 / 255, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        precision=PrecisionRecord(),
        batch=BatchRange(1, 1, 2),
        versions={"vtp_export": "0"},
        files=files or {},
    )


def fill(folder: Path, marker: bytes = b"weights") -> None:
    (folder / "model.onnx").write_bytes(b"graph")
    (folder / "model.onnx.data").write_bytes(marker)
    (folder / "model.ts").write_bytes(b"script")
    files = record_files(folder, "onnx", [folder / "model.onnx", folder / "model.onnx.data"])
    files |= record_files(folder, "torchscript", [Path("model.ts")])
    write_manifest(folder, manifest(files))


@pytest.fixture
def made(tmp_path: Path) -> Artefact:
    with writing(tmp_path / "art", force=False) as folder:
        fill(folder)
    return open_artefact(tmp_path / "art")


def enter(out: Path, force: bool) -> None:
    """Start to write where that must be refused before any work is done."""
    with writing(out, force):
        pytest.fail("the block must not run")


def fail_inside(out: Path, force: bool, error: type[BaseException]) -> None:
    """Write a whole artefact and fail before the end of the block."""
    with writing(out, force) as folder:
        assert folder.parent == out.parent  # one file system, so that a rename will do
        fill(folder, b"new")
        raise error


def left_beside(out: Path) -> list[str]:
    return sorted(path.name for path in out.parent.iterdir() if path.name != out.name)


# Reading


def test_round_trip(made: Artefact) -> None:
    made.verify()
    made.verify("onnx")
    assert made.model_file("onnx") == made.folder / "model.onnx"
    assert made.model_file("torchscript") == made.folder / "model.ts"
    assert made.manifest.files["model.onnx"] == FileRecord("onnx", 5, hashlib.sha256(b"graph").hexdigest())
    assert sorted(path.name for path in made.folder.iterdir()) == [
        "manifest.json",
        "model.onnx",
        "model.onnx.data",
        "model.ts",
    ]
    assert left_beside(made.folder) == []


def test_the_main_file_is_never_a_companion(tmp_path: Path) -> None:
    names = ("graph.onnx", "model.a.data", "model.onnx", "sub/model.onnx")
    (tmp_path / "sub").mkdir()
    for name in names:
        (tmp_path / name).write_bytes(b"x")
    files = record_files(tmp_path, "onnx", map(Path, names))
    assert sorted(files) == sorted(names)
    assert Artefact(tmp_path, manifest(files)).model_file("onnx") == tmp_path / "model.onnx"
    del files["model.onnx"]
    with pytest.raises(ArtefactError, match=r"has no 'model\.\*' for 'onnx'"):
        Artefact(tmp_path, manifest(files)).model_file("onnx")


def test_changed_byte_is_found(made: Artefact) -> None:
    (made.folder / "model.onnx.data").write_bytes(b"weightz")
    with pytest.raises(ArtefactError, match=r"model\.onnx\.data' is damaged: its SHA-256.*export it again"):
        made.verify()
    made.verify("torchscript")


def test_changed_last_byte_of_a_large_file_is_found(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(bytes(3 * artefact.CHUNK_BYTES + 1))
    opened = Artefact(tmp_path, manifest(record_files(tmp_path, "onnx", [path])))
    opened.verify()
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\1")
    with pytest.raises(ArtefactError, match="is damaged"):
        opened.verify()


def test_truncated_and_missing_files_are_found(made: Artefact) -> None:
    (made.folder / "model.onnx").write_bytes(b"gra")
    with pytest.raises(ArtefactError, match=r"model\.onnx' has 3 bytes, not 5"):
        made.verify("onnx")
    (made.folder / "model.onnx").unlink()
    with pytest.raises(ArtefactError, match=r"model\.onnx' is missing"):
        made.verify()


def test_absent_format_lists_those_present(made: Artefact) -> None:
    for ask in (made.model_file, made.verify):
        with pytest.raises(ArtefactError, match="no format 'tensorrt'; it has: onnx, torchscript"):
            ask("tensorrt")


def test_artefact_without_files_does_not_pass(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="records no files"):
        Artefact(tmp_path, manifest()).verify()


def test_open_says_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="no artefact folder"):
        open_artefact(tmp_path / "absent")
    (tmp_path / "file").write_text("x")
    with pytest.raises(ArtefactError, match="is a file; an artefact is a folder"):
        open_artefact(tmp_path / "file")
    with pytest.raises(ArtefactError, match=r"is not an artefact: it has no manifest\.json"):
        open_artefact(tmp_path)
    path = tmp_path / "manifest.json"
    path.write_bytes(b"\xff\xfe{}")
    with pytest.raises(ArtefactError, match="cannot be read"):
        open_artefact(tmp_path)
    path.write_text("{")
    with pytest.raises(ArtefactError, match="is not JSON"):
        open_artefact(tmp_path)
    path.write_text(json.dumps(json.loads(to_json(manifest())) | {"schema": 99}))
    with pytest.raises(ArtefactError, match="schema 99 and schema 1 is read here"):
        open_artefact(tmp_path)
    path.write_text(json.dumps(json.loads(to_json(manifest())) | {"colour": "red"}))
    with pytest.raises(ArtefactError, match="unknown key 'colour'"):
        open_artefact(tmp_path)
    path.unlink()
    path.mkdir()
    with pytest.raises(ArtefactError, match="cannot be read"):
        open_artefact(tmp_path)


@pytest.mark.parametrize(
    "name", ["../secret", "/etc/passwd", "a/../../b", "", ".", "a//b", "a\\b", "C:x", "a\0", "manifest.json"]
)
def test_names_that_leave_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    record = FileRecord("onnx", 1, "0" * 64)
    (tmp_path / "manifest.json").write_text(to_json(manifest({name: record})))
    with pytest.raises(ArtefactError, match="not a plain name inside it"):
        open_artefact(tmp_path)


def test_links_that_leave_the_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    folder = tmp_path / "art"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "model.ts").write_text("x")
    (folder / "model.onnx").symlink_to(tmp_path / "secret")
    (folder / "model.ts").symlink_to("sub/model.ts")
    record = FileRecord("onnx", 1, "0" * 64)
    (folder / "manifest.json").write_text(to_json(manifest({"model.ts": record, "sub/model.ts": record})))
    open_artefact(folder)
    (folder / "manifest.json").write_text(to_json(manifest({"model.onnx": record})))
    with pytest.raises(ArtefactError, match="leads out of the artefact"):
        open_artefact(folder)


def test_record_files_refuses_outsiders(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "model.onnx").write_text("x")
    for outside in (tmp_path / "model.onnx", Path("../model.onnx")):
        with pytest.raises(ArtefactError, match="not a plain name inside"):
            record_files(tmp_path / "in", "onnx", [outside])
    with pytest.raises(ArtefactError, match="cannot record"):
        record_files(tmp_path, "onnx", [Path("absent")])


# The manifest


def test_validation_is_recorded_per_format(made: Artefact) -> None:
    record_validation(made.folder, "onnx", {"cosine": 0.5, "ok": True})
    record_validation(made.folder, "torchscript", {"images": 3})
    record_validation(made.folder, "onnx", {"cosine": 1.0})
    again = open_artefact(made.folder)
    assert again.manifest.validation == {"onnx": {"cosine": 1.0}, "torchscript": {"images": 3}}
    assert again.manifest.identity() == made.manifest.identity()
    again.verify()
    with pytest.raises(ArtefactError, match="no format 'tensorrt'"):
        record_validation(made.folder, "tensorrt", {})
    with pytest.raises(ArtefactError, match="what JSON cannot hold"):
        record_validation(made.folder, "onnx", {"cosine": float("nan")})
    assert open_artefact(made.folder).manifest.validation["onnx"] == {"cosine": 1.0}


def test_validations_at_once_lose_nothing(made: Artefact) -> None:
    other = threading.Thread(target=record_validation, args=(made.folder, "onnx", {"n": 1}))
    with replacing.locked(made.folder):
        other.start()
        other.join(0.2)
        assert other.is_alive()  # it waits for its turn
        validation = {"torchscript": {"n": 2}}
        write_manifest(made.folder, dataclasses.replace(made.manifest, validation=validation))
    other.join()
    assert open_artefact(made.folder).manifest.validation == {"onnx": {"n": 1}, "torchscript": {"n": 2}}


def test_a_reader_of_the_old_manifest_keeps_it_whole(made: Artefact) -> None:
    path = made.folder / "manifest.json"
    before = path.read_text()
    with path.open() as reader:
        record_validation(made.folder, "onnx", {"n": 1})
        assert reader.read() == before
    assert path.read_text() != before


def test_failed_manifest_leaves_the_old_one(made: Artefact, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (made.folder / "manifest.json").read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ArtefactError, match=r"No space left on device \([\d.]+ [GM]B are free"):
        record_validation(made.folder, "onnx", {})
    assert (made.folder / "manifest.json").read_bytes() == before
    assert not list(made.folder.glob(".manifest*"))


# Writing


def test_existing_is_refused_before_the_work(made: Artefact) -> None:
    with pytest.raises(ArtefactError, match=r"already exists; name another folder, or .* --force"):
        enter(made.folder, force=False)
    made.verify()


def test_force_replaces_an_artefact(made: Artefact) -> None:
    old = made.folder.stat().st_ino
    with writing(made.folder, force=True) as folder:
        fill(folder, b"new")
    open_artefact(made.folder).verify()
    assert (made.folder / "model.onnx.data").read_bytes() == b"new"
    assert made.folder.stat().st_ino != old
    assert left_beside(made.folder) == []


def test_force_keeps_what_is_not_an_artefact(tmp_path: Path) -> None:
    folder, file, empty = tmp_path / "photos", tmp_path / "file", tmp_path / "empty"
    folder.mkdir()
    (folder / "holiday.jpg").write_text("x")
    file.write_text("x")
    empty.mkdir()
    with pytest.raises(ArtefactError, match=r"--force does not replace .*not an artefact"):
        enter(folder, force=True)
    with pytest.raises(ArtefactError, match=r"--force does not replace .*not a folder"):
        enter(file, force=True)
    with writing(empty, force=True) as new:
        fill(new)
    assert (folder / "holiday.jpg").exists()
    assert file.read_text() == "x"
    open_artefact(empty).verify()


def test_force_looks_again_at_the_end(made: Artefact) -> None:
    with pytest.raises(ArtefactError, match="does not replace"), writing(made.folder, force=True):
        (made.folder / "manifest.json").unlink()  # it is something else now
    assert (made.folder / "model.onnx").exists()
    assert left_beside(made.folder) == []


def test_appearing_meanwhile_is_kept(tmp_path: Path) -> None:
    out = tmp_path / "art"
    with pytest.raises(ArtefactError, match="already exists"), writing(out, force=False):
        out.mkdir()
    assert list(out.iterdir()) == []
    assert left_beside(out) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, SystemExit])
def test_failure_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    out = tmp_path / "a" / "b" / "art"
    with pytest.raises(error):
        fail_inside(out, force=False, error=error)
    assert list(tmp_path.iterdir()) == []


def test_failure_keeps_the_old(made: Artefact) -> None:
    with pytest.raises(KeyboardInterrupt):
        fail_inside(made.folder, force=True, error=KeyboardInterrupt)
    made.verify()
    assert left_beside(made.folder) == []


def test_parents_are_made_and_shared_ones_kept(tmp_path: Path) -> None:
    out = tmp_path / "a" / "b" / "art"
    with contextlib.suppress(ValueError), writing(out, force=False):
        (tmp_path / "a" / "mine").write_text("x")
        raise ValueError
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["mine"]
    with writing(out, force=False) as folder:
        fill(folder)
    open_artefact(out).verify()


def test_a_link_to_an_artefact_stays_a_link(made: Artefact) -> None:
    link = made.folder.with_name("link")
    link.symlink_to(made.folder)
    with writing(link, force=True) as folder:
        fill(folder, b"new")
    assert link.is_symlink()
    assert (made.folder / "model.onnx.data").read_bytes() == b"new"


def test_permissions_are_those_of_the_user(made: Artefact) -> None:
    plain = made.folder.with_name("plain")
    plain.mkdir()
    assert made.folder.stat().st_mode == plain.stat().st_mode


def test_without_exchange_two_renames(made: Artefact, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replacing, "_rename_at_once", lambda *_: False)
    with writing(made.folder, force=True) as folder:
        fill(folder, b"new")
    open_artefact(made.folder).verify()
    assert left_beside(made.folder) == []
    with writing(made.folder.with_name("other"), force=False) as folder:
        fill(folder)
    open_artefact(made.folder.with_name("other")).verify()


def test_without_exchange_a_failure_brings_the_old_back(made: Artefact, monkeypatch: pytest.MonkeyPatch) -> None:
    rename = Path.rename

    def failing(self: Path, target: Path) -> Path:
        if ".partial-" in self.name:
            raise OSError(errno.EIO, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(replacing, "_rename_at_once", lambda *_: False)
    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(ArtefactError, match="Input/output error"), writing(made.folder, force=True) as folder:
        fill(folder, b"new")
    made.verify()
    assert left_beside(made.folder) == []


WRITER = """
import sys, time
from pathlib import Path
from vtp_export.runtime.artefact import writing
with writing(Path(sys.argv[1]), force=True) as folder:
    (folder / "model.onnx").write_bytes(bytes(1000))
    print(folder, flush=True)
    time.sleep(60)
"""


@contextlib.contextmanager
def other_writer(out: Path):
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(out)], stdout=subprocess.PIPE, text=True, env=IMPORTABLE
    )
    try:
        assert process.stdout is not None
        yield process, Path(process.stdout.readline().strip())
    finally:
        process.kill()
        process.communicate()


def test_killed_writer_is_swept_and_a_living_one_is_not(tmp_path: Path) -> None:
    out = tmp_path / "art[1]"  # a name that globbing would misread
    with other_writer(out) as (killed, stale), other_writer(out) as (_, living):
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        assert stale.is_dir()
        assert living.is_dir()
        assert not out.exists()
        with writing(out, force=False) as folder:
            assert not stale.exists()
            fill(folder)
        assert (living / "model.onnx").stat().st_size == 1000
        open_artefact(out).verify()
    with writing(out, force=True) as folder:
        fill(folder)
    assert left_beside(out) == []


def test_folder_without_a_lock_is_swept_when_old(tmp_path: Path) -> None:
    out = tmp_path / "art"
    young, old = tmp_path / ".art.partial-1", tmp_path / ".art.partial-2"
    foreign = tmp_path / ".arts.partial-3"
    for folder in (young, old, foreign):
        folder.mkdir()
    long_ago = time.time() - 2 * replacing.LOCKLESS_SECONDS
    os.utime(old, (long_ago, long_ago))
    os.utime(foreign, (long_ago, long_ago))
    with writing(out, force=False) as folder:
        fill(folder)
    assert left_beside(out) == [".art.partial-1", ".arts.partial-3"]


def test_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    script = """
import sys
from pathlib import Path
from vtp_export.errors import ArtefactError
from vtp_export.runtime.artefact import writing
try:
    with writing(Path(sys.argv[1]), force=False) as folder:
        (folder / "model.onnx").write_bytes(bytes(1_000_000))
except ArtefactError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "deep" / "art")],
        capture_output=True,
        text=True,
        env=IMPORTABLE,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)),
        check=False,
    )
    assert "cannot write" in done.stdout, done.stderr
    assert "File too large" in done.stdout
    assert "are free there" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_no_space_when_flushing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    expected = r"art': No space left on device \([\d.]+ [GM]B are free there\)"
    with pytest.raises(ArtefactError, match=expected), writing(tmp_path / "art", force=False) as folder:
        (folder / "model.onnx").write_bytes(b"x")
    assert list(tmp_path.iterdir()) == []


def test_impossible_places_are_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("x")
    for out, reason in (
        (tmp_path / ("n" * 300), "File name too long"),
        (tmp_path / ("n" * 300) / "art", "File name too long"),
        (tmp_path / "file" / "art", "Not a directory"),
        (tmp_path / "file" / "deep" / "art", "Not a directory"),
        (Path("/"), "root of the file system"),
        (tmp_path / "a\0b", "null"),
    ):
        with pytest.raises(ArtefactError, match=reason):
            enter(out, force=False)

    def denied(self: Path, *_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(Path, "mkdir", denied)  # root may write everywhere, so the refusal is played
    with pytest.raises(ArtefactError, match="Permission denied"):
        enter(tmp_path / "art", force=False)


def test_foreign_errors_of_the_block_pass(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), writing(tmp_path / "art", force=False):
        (tmp_path / "no-such-weights").read_bytes()
    with pytest.raises(ArtefactError, match="cannot write"), writing(tmp_path / "art", force=False) as folder:
        (folder / "no" / "such" / "folder").write_text("x")
    assert list(tmp_path.iterdir()) == []


def test_a_reader_never_misses_the_folder(made: Artefact) -> None:
    stop, wrong, reads = threading.Event(), [], [0]

    def read() -> None:
        while not stop.is_set():
            reads[0] += 1
            try:
                opened = open_artefact(made.folder)
            except ArtefactError as error:
                wrong.append(str(error))
                return
            if set(opened.manifest.files) != {"model.onnx", "model.onnx.data", "model.ts"}:
                wrong.append("half a manifest")

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for number in range(40):
        with writing(made.folder, force=True) as folder:
            fill(folder, b"%d" % number)
    stop.set()
    for reader in readers:
        reader.join()
    assert wrong == []
    assert reads[0] > 40
    open_artefact(made.folder).verify()
