"""The same pictures from a folder, tar files, Parquet, a JSON list and a stream: all, in order, from anywhere."""

import importlib.util
import io
import json
import pickle
import tarfile

import numpy as np
import pytest
from PIL import Image

from vtp_export.benchmarks import _lists, _stream
from vtp_export.benchmarks._lists import entries
from vtp_export.benchmarks._pictures import chosen_pictures
from vtp_export.errors import ImageError, SpecError, UnavailableError, VtpError, VtpWarning

COUNT = 11


def content(number):
    file = io.BytesIO()
    image = Image.fromarray(np.full((6 + number, 8, 3), 20 * number, dtype=np.uint8))
    image.save(file, "PNG")
    return file.getvalue() if number != 5 else file.getvalue()[:40]  # one of them is broken


def write_folder(place):
    for number in range(COUNT):
        path = place / "photos" / f"{number // 4}" / f"{number:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content(number))
    return place / "photos", None


def write_tars(place):
    (place / "tars").mkdir()
    for shard in range(3):
        with tarfile.open(place / "tars" / f"{shard:04d}.tar", "w") as file:
            for number in range(4 * shard, min(4 * shard + 4, COUNT)):
                for ending, data in (("json", b"{}"), ("png", content(number)), ("txt", b"a caption")):
                    member = tarfile.TarInfo(f"{number:02d}.{ending}")
                    member.size = len(data)
                    file.addfile(member, io.BytesIO(data))
    return place / "tars", None


def write_table(path, numbers, structs=True):
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    cells = [{"bytes": content(number), "path": f"{number}.png"} if structs else content(number) for number in numbers]
    table = arrow.table({"id": list(numbers), "image": cells})
    parquet.write_table(table, path, row_group_size=3)


def write_tables(place):
    (place / "tables").mkdir()
    write_table(place / "tables" / "train-0.parquet", range(7))
    write_table(place / "tables" / "train-1.parquet", range(7, COUNT), structs=False)
    return place / "tables", None


def write_list(place):
    folder, _ = write_folder(place)
    rows = [{"id": 0, "conversations": ["text, alone"]}]
    for path in sorted(folder.rglob("*.png")):
        name = path.relative_to(folder).as_posix()
        rows += [{"id": 1, "image": name}, {"id": 2, "image": [name], "conversations": ['a [ in, "text" }']}]
    (place / "llava.json").write_text(json.dumps(rows, indent=1))
    return place / "llava.json", folder


WRITERS = {"folder": write_folder, "tars": write_tars, "tables": write_tables, "list": write_list}


@pytest.mark.parametrize("kind", WRITERS)
def test_all_pictures_come_in_order_from_anywhere(kind, tmp_path):
    name, folder = WRITERS[kind](tmp_path)
    pictures, selection = chosen_pictures(name, image_folder=folder)
    assert len(pictures) == len(selection) == selection.total == COUNT
    found = list(pictures.at(range(COUNT)))
    assert len({one.name for one in found}) == COUNT
    for number, one in enumerate(found):
        again = pickle.loads(pickle.dumps(one))  # as another process gets it
        if number == 5:
            with pytest.raises(ImageError):
                again.open()
        else:
            image = again.open()
            assert image.size == (8, 6 + number) and image.convert("RGB").getpixel((0, 0))[0] == 20 * number
    assert [one.name for one in pictures.at([2, 3, 9])] == [found[i].name for i in (2, 3, 9)]
    pictures, selection = chosen_pictures(name, start=4, limit=3, image_folder=folder)
    assert [selection.position(i) for i in range(len(selection))] == [5, 7, 9]


def test_one_file_is_a_data_set(tmp_path):
    write_tars(tmp_path)
    pictures, _ = chosen_pictures(tmp_path / "tars" / "0001.tar")
    assert [one.name for one in pictures.at(range(4))] == [f"0001.tar/{number:02d}.png" for number in range(4, 8)]
    write_table(tmp_path / "t.parquet", range(3))
    assert len(chosen_pictures(str(tmp_path / "t.parquet"))[0]) == 3


def test_packed_pictures_stand_before_loose_ones(tmp_path):
    write_tars(tmp_path)
    Image.new("RGB", (4, 4)).save(tmp_path / "tars" / "loose.png")
    with pytest.warns(VtpWarning, match="holds tar files: the pictures in these are read, and no others"):
        assert len(chosen_pictures(tmp_path / "tars")[0]) == COUNT


def spoiled(path, data):
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.tar", b"no tar file", r"a\.tar' cannot be read"),
        ("a.tar", b"\0" * 10240, "there is no picture in"),
        ("a.tgz", b"\x1f\x8b\x08\0\0\0\0\0", "cannot be read from the middle: unpack it"),
        ("a.parquet", b"no table", r"a\.parquet' cannot be read"),
        ("a.json", b"{}", "a list was expected, and '{' is there"),
        ("a.json", b"", "a list was expected|it is cut short"),
        ("a.json", b"[]", "names no picture; entries have an 'image'"),
        ("a.json", b'[{"image": "a.png"}', "it is cut short"),
        ("a.json", b'[{"image": "a.png"} {}]', "a comma or the end of the list was expected"),
        ("a.json", b"[1]", "entry 0 of .* is no object"),
        ("a.json", b'[{"image": 7}]', "'image' must be the path of a picture"),
        ("a.json", b"[" * 100_000, "cannot be read as a JSON list"),
        ("a.json", b"\xff\xfe", "cannot be read as a JSON list"),
    ],
)
def test_a_damaged_data_set_is_one_sentence(tmp_path, name, data, words):
    with pytest.raises(SpecError, match=words):
        chosen_pictures(spoiled(tmp_path / name, data))


def test_a_table_without_pictures_is_one_sentence(tmp_path):
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    parquet.write_table(arrow.table({"text": ["a"]}), tmp_path / "t.parquet")
    with pytest.raises(SpecError, match=r"has no column of pictures; .* the columns are text"):
        chosen_pictures(tmp_path / "t.parquet")


def test_pictures_of_a_benchmark_are_named_after_what_is_asked(tmp_path):
    for name in "abc":
        Image.new("RGB", (4, 4)).save(tmp_path / f"{name}.png")
    rows = [{"image": f"{name}.png", "prompt": "Is it?", "answer": "yes"} for name in "aabc"]
    kinds = ("scene", "scene", "OCR", "scene")
    several = [{**row, "kind": kind} for row, kind in zip(rows, kinds, strict=True)]
    for told, names in (
        (several, ["scene/a.png", "OCR/b.png", "scene/c.png"]),
        (rows, ["a.png", "b.png", "c.png"]),
        ([*several, {**rows[0], "kind": "OCR"}], ["a.png", "b.png", "c.png"]),
    ):
        (tmp_path / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in told))
        pictures, _ = chosen_pictures(tmp_path / "q.jsonl")
        assert [one.name for one in pictures.at(range(3))] == names


def test_only_a_list_has_a_folder_of_images(tmp_path):
    name, _ = write_folder(tmp_path)
    with pytest.raises(SpecError, match="is no JSON list of pictures; leave --image-folder out"):
        chosen_pictures(name, image_folder=tmp_path)


@pytest.mark.parametrize("chunk", [1, 2, 7, 1 << 20])
def test_a_list_is_read_whatever_its_pieces(tmp_path, monkeypatch, chunk):
    monkeypatch.setattr(_lists, "CHUNK", chunk)
    rows = [{"a": [1, 2.5, -3e7], "b": 'x]},{\\"'}, 12345, [], None, "ü" * 5, {"c": {}}]
    (tmp_path / "a.json").write_text("\ufeff" + json.dumps(rows, ensure_ascii=False, indent=2), encoding="utf-8")
    assert list(entries(tmp_path / "a.json")) == rows
    (tmp_path / "b.json").write_text(" [ ] ")
    assert list(entries(tmp_path / "b.json")) == []


def test_a_stream_says_what_it_lacks(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UnavailableError, match="is streamed by the library datasets: pip install"):
        chosen_pictures("hub:owner/name")


@pytest.mark.whole
def test_a_stream_gives_every_picture_from_anywhere(tmp_path, monkeypatch):
    """Of local files of the hub's schema, by the library that streams from the hub."""
    pytest.importorskip("datasets", reason="needs datasets, in an environment of its own")
    write_tables(tmp_path)
    write_table(tmp_path / "tables" / "train-1.parquet", range(7, COUNT))
    files = sorted(str(path) for path in (tmp_path / "tables").iterdir())
    open_stream = _stream.opened
    monkeypatch.setattr(
        _stream, "opened", lambda owner, config, split: open_stream("parquet", config, split, data_files=files)
    )
    with pytest.raises(SpecError, match="say how many to read with --limit"):
        chosen_pictures("hub:owner/name")
    pictures, selection = chosen_pictures("hub:owner/name", start=2, limit=8)
    assert len(selection) == 8 and selection.position(0) == 2
    found = list(pictures.at([2, 4, 5, 9]))
    assert [one.name for one in found] == [f"owner/name/{number}" for number in (2, 4, 5, 9)]
    assert [pickle.loads(pickle.dumps(found[i])).open().size for i in (0, 1, 3)] == [(8, 8), (8, 10), (8, 15)]
    with pytest.raises(VtpError):
        found[2].open()
    pictures, _ = chosen_pictures("hub:owner/name", limit=40)
    with pytest.raises(UnavailableError, match="holds fewer pictures than it says"):
        list(pictures.at(range(40)))
