"""A file is the old one or the new one, whole."""

import pytest

from vtp_export.errors import ArtefactError
from vtp_export.runtime.writing import atomically, write_atomically


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
