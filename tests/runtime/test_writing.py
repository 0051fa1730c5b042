"""A file is the old one or the new one, whole."""

import errno
import os
import stat
from pathlib import Path

import pytest

from vtp_export.errors import ArtefactError, SpecError
from vtp_export.runtime import locks
from vtp_export.runtime.writing import (
    atomically,
    refuse_overwriting,
    refuse_unwritable,
    refuse_unwritable_file,
    sentence,
    write_atomically,
)


def test_the_new_bytes_take_the_place_of_the_old(tmp_path):
    path = tmp_path / "record.json"
    write_atomically(path, "old\n")
    write_atomically(path, "n\u00e9w\n")
    assert path.read_bytes() == "n\u00e9w\n".encode()
    assert list(tmp_path.iterdir()) == [path]


def test_a_writer_that_fails_leaves_the_old_bytes_and_nothing_else(tmp_path):
    path = tmp_path / "record.json"
    write_atomically(path, "old")
    with pytest.raises(TypeError), atomically(path) as file:
        file.writelines([b"half", "text"])
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_nobody_sees_half_a_file(tmp_path):
    path = tmp_path / "record.json"
    with atomically(path) as file:
        file.write(b"half")
        file.flush()
        assert not path.exists()
    assert path.read_bytes() == b"half"


def test_where_nothing_can_be_written_a_sentence_says_so(tmp_path):
    with pytest.raises(ArtefactError, match=r"cannot write .*record.json': No such file"):
        write_atomically(tmp_path / "absent" / "record.json", "text")


@pytest.mark.parametrize("kind", ["a pipe", "a folder", "a link to a pipe", "a device"])
def test_only_a_regular_file_is_replaced(tmp_path, kind):
    path, pipe = tmp_path / "out", tmp_path / "pipe"
    os.mkfifo(pipe)
    if kind == "a folder":
        path.mkdir()
    elif kind == "a pipe":
        os.mkfifo(path)
    elif kind == "a device":
        try:
            os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 3))  # the numbers of /dev/null
        except PermissionError:
            pytest.skip("who is not root makes no device, and could not replace one")
    else:
        path.symlink_to(pipe)
    before = os.lstat(path)
    with pytest.raises(ArtefactError, match=r"cannot write .*out': it is a (pipe or a device|folder); name a file"):
        write_atomically(path, "text")
    assert os.path.samestat(os.lstat(path), before)
    assert sorted(tmp_path.iterdir()) == [path, pipe]


def test_a_link_is_written_through_or_replaced(tmp_path):
    file, link = tmp_path / "file", tmp_path / "link"
    link.symlink_to(file)
    for text in ("into nothing", "into the old"):
        write_atomically(link, text)
        assert (file.read_text(), link.is_symlink()) == (text, True)
    write_atomically(link, "instead", follow=False)
    assert (file.read_text(), link.read_text(), link.is_symlink()) == ("into the old", "instead", False)
    link.unlink()
    link.symlink_to(link)
    with pytest.raises(ArtefactError, match=r"cannot write .*link'"):
        write_atomically(link, "text")


def test_what_a_killed_writer_left_is_swept_and_what_a_living_one_fills_is_not(tmp_path):
    path = tmp_path / "record[1].json"
    left, living, others = (tmp_path / f".{name}" for name in (f"{path.name}.0123abcd", f"{path.name}.4567cdef", "x"))
    for file in (left, living, others):
        file.touch()
    with locks.held(living):
        write_atomically(path, "text")
    assert sorted(tmp_path.iterdir()) == sorted([living, others, path])


def test_a_place_is_tried_before_the_work_and_nothing_is_left(tmp_path):
    (tmp_path / "file").touch()
    refuse_unwritable(tmp_path / "deep" / "report")
    refuse_unwritable(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    for place in (tmp_path / "file", tmp_path / "file" / "report"):
        with pytest.raises(ArtefactError, match=f"cannot write '{place}': Not a directory"):
            refuse_unwritable(place)
    refuse_unwritable_file(tmp_path / "file")
    refuse_unwritable_file(tmp_path / "deep" / "file")
    os.mkfifo(tmp_path / "pipe")
    for place, words in (("pipe", "it is a pipe or a device"), ("file/file", "Not a directory")):
        with pytest.raises(ArtefactError, match=f"cannot write '{tmp_path / place}': {words}"):
            refuse_unwritable_file(tmp_path / place)


def test_free_space_is_spoken_of_only_where_it_lacks(tmp_path, monkeypatch):
    def refuse(number):
        def fsync(descriptor):
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, "fsync", fsync)
        with pytest.raises(ArtefactError) as caught:
            write_atomically(tmp_path / "record.json", "text")
        return str(caught.value)

    assert "are free there); free some space" in refuse(28)
    read_only = refuse(30)
    assert "Read-only file system; name a place that can be written" in read_only
    assert "are free" not in read_only


@pytest.mark.parametrize(("number", "room"), [(errno.ENOSPC, True), (errno.EDQUOT, True), (errno.EFBIG, False)])
def test_room_is_spoken_of_where_it_lacks(tmp_path, number, room):
    told = sentence(OSError(number, os.strerror(number)), Path(tmp_path / "a"))
    assert ("are free there" in told) == ("free some space" in told) == room, told


def test_the_longest_name_is_written(tmp_path):
    for name in ("x" * 255, "é" * 127):
        write_atomically(tmp_path / name, "text")
        assert [path.name for path in tmp_path.iterdir()] == [name]
        (tmp_path / name).unlink()


def test_what_is_read_is_not_written_over(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    photo = tmp_path / "photo.png"
    photo.touch()
    (tmp_path / "link.png").symlink_to(photo)
    for target in (photo, Path("photo.png"), tmp_path / "link.png", tmp_path / "absent" / ".." / "photo.png"):
        with pytest.raises(SpecError, match=r"photo.png|link.png"):
            refuse_overwriting([tmp_path / "other.png", target], iter([photo]))
    refuse_overwriting([tmp_path / "other.png"], [photo, tmp_path / "absent.png"])
