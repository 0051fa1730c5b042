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
from tests.manifests import SMALLEST
from tests.sealing import reseal, sealed
from vtp_export.errors import ArtefactError
from vtp_export.json_records import to_json
from vtp_export.runtime import artefact, locks, replacing
from vtp_export.runtime.artefact import Artefact, open_artefact
from vtp_export.runtime.changing import add_build, record_files, record_validation, write_manifest, writing
from vtp_export.spec import (
    Build,
    FileRecord,
    Manifest,
)

IMPORTABLE = {**os.environ, "PYTHONPATH": str(Path(vtp_export.__file__).parents[1])}


def of(fmt: str, main: str, **sizes: int) -> Build:
    """A build whose files are of those sizes, and empty where none are given."""
    names = [main, *sizes]
    return Build(fmt, main, {name: FileRecord(sizes.get(name, 1), "0" * 64) for name in names})


def manifest(*builds: Build) -> Manifest:
    return dataclasses.replace(SMALLEST, builds=builds)


def fill(folder: Path, marker: bytes = b"weights") -> None:
    (folder / "model.onnx").write_bytes(b"graph")
    (folder / "model.onnx.data").write_bytes(marker)
    (folder / "model.ts").write_bytes(b"script")
    onnx = Build("onnx", "model.onnx", record_files(folder, [folder / "model.onnx", folder / "model.onnx.data"]))
    script = Build("torchscript", "model.ts", record_files(folder, [Path("model.ts")]))
    write_manifest(folder, manifest(onnx, script))


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
    (onnx,), (script,) = made.builds("onnx"), made.builds("torchscript")
    made.verify(onnx)
    assert (onnx.main, script.main, made.manifest.formats()) == ("model.onnx", "model.ts", ["onnx", "torchscript"])
    assert onnx.files["model.onnx"] == FileRecord(5, hashlib.sha256(b"graph").hexdigest())
    assert onnx.size == 5 + len(b"weights")
    assert sorted(path.name for path in made.folder.iterdir()) == [
        "manifest.json",
        "model.onnx",
        "model.onnx.data",
        "model.ts",
    ]
    assert left_beside(made.folder) == []


def test_a_main_file_that_is_not_there_is_refused(made: Artefact) -> None:
    reseal(made.folder / "manifest.json", lambda keys: keys["builds"][1].update(main="model.t"))
    with pytest.raises(ArtefactError, match=r"torchscript opens 'model\.t', which is not among its files: model\.ts"):
        open_artefact(made.folder)


def test_changed_byte_is_found(made: Artefact) -> None:
    (made.folder / "model.onnx.data").write_bytes(b"weightz")
    with pytest.raises(ArtefactError, match=r"model\.onnx\.data' is damaged: its SHA-256.*export it again"):
        made.verify()
    made.verify(*made.builds("torchscript"))


def test_changed_last_byte_of_a_large_file_is_found(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(bytes(3 * artefact.CHUNK_BYTES + 1))
    opened = Artefact(tmp_path, manifest(Build("onnx", "model.onnx", record_files(tmp_path, [path]))))
    opened.verify()
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\1")
    with pytest.raises(ArtefactError, match="is damaged"):
        opened.verify()


def test_truncated_and_missing_files_are_found(made: Artefact) -> None:
    (made.folder / "model.onnx").write_bytes(b"gra")
    with pytest.raises(ArtefactError, match=r"model\.onnx' has 3 bytes, not 5"):
        made.verify(*made.builds("onnx"))
    (made.folder / "model.onnx").unlink()
    with pytest.raises(ArtefactError, match=r"model\.onnx' is missing"):
        made.verify()


def test_absent_format_lists_those_present(made: Artefact) -> None:
    with pytest.raises(ArtefactError, match="no format 'tensorrt'; it has: onnx, torchscript"):
        made.builds("tensorrt")


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
    path.write_text(sealed(json.loads(to_json(manifest())) | {"schema": 99}))
    with pytest.raises(
        ArtefactError, match="schema 99 and schema 2 is read here: not made by this version; export again"
    ):
        open_artefact(tmp_path)
    path.write_text(sealed(json.loads(to_json(manifest())) | {"schema": 1}))
    with pytest.raises(
        ArtefactError, match="schema 1 and schema 2 is read here: made by an earlier version; export ag"
    ):
        open_artefact(tmp_path)
    path.write_text(sealed(json.loads(to_json(manifest())) | {"colour": "red"}))
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
    (tmp_path / "manifest.json").write_text(to_json(manifest(of("onnx", name))))
    with pytest.raises(ArtefactError, match="not a plain name inside it"):
        open_artefact(tmp_path)


def test_links_that_leave_the_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    folder = tmp_path / "art"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "model.ts").write_text("x")
    (folder / "model.onnx").symlink_to(tmp_path / "secret")
    (folder / "model.ts").symlink_to("sub/model.ts")
    (folder / "manifest.json").write_text(to_json(manifest(of("onnx", "model.ts", **{"sub/model.ts": 1}))))
    with pytest.raises(ArtefactError, match="is damaged"):  # it was followed, and read
        open_artefact(folder).verify()
    (folder / "manifest.json").write_text(to_json(manifest(of("onnx", "model.onnx"))))
    with pytest.raises(ArtefactError, match="leads out of the artefact"):
        open_artefact(folder).verify()


def test_record_files_refuses_outsiders(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "model.onnx").write_text("x")
    for outside in (tmp_path / "model.onnx", Path("../model.onnx")):
        with pytest.raises(ArtefactError, match="not a plain name inside"):
            record_files(tmp_path / "in", [outside])
    with pytest.raises(ArtefactError, match="cannot record"):
        record_files(tmp_path, [Path("absent")])


# The manifest


def test_validation_is_recorded_per_format(made: Artefact) -> None:
    record_validation(made, "onnx", {"cosine": 0.5, "ok": True})
    record_validation(made, "torchscript", {"images": 3})
    record_validation(made, "onnx", {"cosine": 1.0})
    again = open_artefact(made.folder)
    of = {"identity": made.manifest.identity()}
    assert again.manifest.validation == {"onnx": {"cosine": 1.0, **of}, "torchscript": {"images": 3, **of}}
    assert again.manifest.identity() == made.manifest.identity()
    again.verify()
    with pytest.raises(ArtefactError, match="no format 'tensorrt'"):
        record_validation(made, "tensorrt", {})
    with pytest.raises(ArtefactError, match="what JSON cannot hold"):
        record_validation(made, "onnx", {"cosine": float("nan")})
    assert open_artefact(made.folder).manifest.validation["onnx"] == {"cosine": 1.0, **of}


def test_validations_at_once_lose_nothing(made: Artefact) -> None:
    other = threading.Thread(target=record_validation, args=(made, "onnx", {"n": 1}))
    with replacing.locked(made.folder):
        other.start()
        other.join(0.2)
        assert other.is_alive()  # it waits for its turn
        validation = {"torchscript": {"n": 2}}
        write_manifest(made.folder, dataclasses.replace(made.manifest, validation=validation))
    other.join()
    of = {"identity": made.manifest.identity()}
    assert open_artefact(made.folder).manifest.validation == {"onnx": {"n": 1, **of}, "torchscript": {"n": 2}}


def test_a_reader_of_the_old_manifest_keeps_it_whole(made: Artefact) -> None:
    path = made.folder / "manifest.json"
    before = path.read_text()
    with path.open() as reader:
        record_validation(made, "onnx", {"n": 1})
        assert reader.read() == before
    assert path.read_text() != before


def test_failed_manifest_leaves_the_old_one(made: Artefact, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (made.folder / "manifest.json").read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ArtefactError, match=r"No space left on device \([\d.]+ [GM]B are free"):
        record_validation(made, "onnx", {})
    assert (made.folder / "manifest.json").read_bytes() == before
    assert not list(made.folder.glob(".manifest*"))


# Adding a build


def written(place: Path, fmt: str, *names: str, content: bytes = b"new") -> Build:
    for name in names:
        (place / name).write_bytes(content)
    return Build(fmt, names[0], record_files(place, [Path(name) for name in names]))


def test_a_build_is_added_and_replaced(made: Artefact) -> None:
    record_validation(made, "onnx", {"cosine": 1.0})
    first = add_build(made, lambda place: written(place, "tensorrt", "model.a.plan", "model.a.json"))
    add_build(made, lambda place: written(place, "tensorrt", "model.b.plan"))
    record_validation(open_artefact(made.folder), "tensorrt", {"cosine": 1.0})
    again = add_build(made, lambda place: written(place, "tensorrt", "model.a.plan", content=b"newer"))
    opened = open_artefact(made.folder)
    opened.verify()
    assert {build.main: build for build in opened.builds("tensorrt")}["model.a.plan"] == again != first
    assert [build.main for build in opened.builds("tensorrt")] == ["model.b.plan", "model.a.plan"]
    assert set(opened.manifest.validation) == {"onnx"}
    assert opened.manifest.identity() == made.manifest.identity()


def test_a_build_does_not_replace_a_file_of_another_format(made: Artefact) -> None:
    with pytest.raises(ArtefactError, match=r"tensorrt would replace 'model\.ts', which belongs to torchscript"):
        add_build(made, lambda place: written(place, "tensorrt", "model.a.plan", "model.ts"))
    made.verify()
    assert (made.folder / "model.ts").read_bytes() == b"script"
    assert open_artefact(made.folder).manifest == made.manifest


def test_a_build_that_fails_leaves_the_artefact_alone(made: Artefact) -> None:
    def fail(place: Path) -> Build:
        written(place, "tensorrt", "model.a.plan")
        raise KeyboardInterrupt

    before = sorted(made.folder.iterdir())
    with pytest.raises(KeyboardInterrupt):
        add_build(made, fail)
    assert sorted(made.folder.iterdir()) == before


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EFBIG])
def test_a_build_on_a_full_disk_says_which(made: Artefact, number: int) -> None:
    def fail(place: Path) -> Build:
        raise OSError(number, os.strerror(number))  # a write that fails names no file

    with pytest.raises(ArtefactError, match=f"^cannot write '{made.folder}': {os.strerror(number)}.*; "):
        add_build(made, fail)
    made.verify()


def test_a_build_that_fails_at_something_else_says_that(made: Artefact) -> None:
    def fail(place: Path) -> Build:
        raise FileNotFoundError(errno.ENOENT, "No such file", "/elsewhere/library.so")

    with pytest.raises(FileNotFoundError, match="elsewhere"):
        add_build(made, fail)


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
from vtp_export.runtime.changing import writing
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


def test_what_nobody_holds_is_swept_where_there_are_locks(tmp_path: Path) -> None:
    out = tmp_path / "art"
    ours, foreign = tmp_path / ".art.partial-1", tmp_path / ".arts.partial-3"
    for folder in (ours, foreign):
        folder.mkdir()
    with writing(out, force=False) as folder:
        fill(folder)
    assert left_beside(out) == [".arts.partial-3"]


def test_without_locks_only_what_is_old_is_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "take", lambda *_, **__: None)
    out = tmp_path / "art"
    young, old = tmp_path / ".art.partial-1", tmp_path / ".art.partial-2"
    for folder in (young, old):
        folder.mkdir()
    long_ago = time.time() - 2 * locks.LOCKLESS_SECONDS
    os.utime(old, (long_ago, long_ago))
    with writing(out, force=False) as folder:
        fill(folder)
    assert left_beside(out) == [".art.partial-1"]


def test_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    script = """
import sys
from pathlib import Path
from vtp_export.errors import ArtefactError
from vtp_export.json_records import to_json
from vtp_export.runtime.changing import writing
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
    assert "raise the limit (ulimit -f), or name another place" in done.stdout
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
            names = {name for build in opened.manifest.builds for name in build.files}
            if names != {"model.onnx", "model.onnx.data", "model.ts"}:
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
