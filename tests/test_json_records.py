"""What anybody may have written is read within bounds, and what is wrong is said in one short sentence."""

import json
import math
import os
import tracemalloc

import pytest

from vtp_export.errors import SpecError
from vtp_export.json_records import MAX_DEPTH, parse_json, read_json, read_text


def refused(text, unique=False):
    with pytest.raises(SpecError) as caught:
        parse_json(text, "the file", unique)
    message = str(caught.value)
    message.encode()
    assert message.startswith("the file ")
    assert "\n" not in message
    assert len(message) < 200
    return message


def nested(depth):
    return '{"a":' * (depth - 1) + "[]" + "}" * (depth - 1)


@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 900, 10_000, 1_000_000])
def test_deep_json_is_refused(depth):
    assert refused(nested(depth)) == "the file is nested more than 100 deep"


def test_the_deepest_json_that_is_read():
    assert repr(parse_json(nested(MAX_DEPTH), "the file")).count("a") == MAX_DEPTH - 1


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (r'{"a": {"b": [0, "\ud800"]}}', "'a.b.1'"),
        (r'{"a": {"\udfff": 0}}', r"'a.\udfff'"),
        (r'{"a": "\udc00\ud800"}', "'a'"),
    ],
)
def test_half_a_character_is_told_by_its_place(text, place):
    assert refused(text) == f"the file has half a character (a lone surrogate) at {place}"


def test_whole_characters_stay():
    assert parse_json(r'{"\u00e9": "\ud83d\ude00"}', "the file") == {"é": "\N{GRINNING FACE}"}


def test_numbers_without_a_float_are_infinite():
    text = f'{{"a": 1{"0" * 400}, "b": -1{"0" * 10_000}, "c": 1e999, "d": NaN, "e": {10**307}, "f": {2**64}}}'
    value = parse_json(text, "the file")
    assert (value["a"], value["b"], value["c"]) == (math.inf, -math.inf, math.inf)
    assert math.isnan(value["d"])
    assert (value["e"], value["f"]) == (10**307, 2**64)


def test_the_last_of_two_keys_counts_unless_they_must_be_unique():
    text = '{"a": 1, "a": 2}'
    assert parse_json(text, "the file") == json.loads(text) == {"a": 2}
    assert refused(text, unique=True) == "the file has the key 'a' twice in one object"


@pytest.mark.parametrize("text", ["", "{", "[1,]", "'a'", "\ufeff{}", '"' + "x" * 10_000])
def test_no_json(text):
    assert "is not JSON: " in refused(text)


def test_a_long_key_does_not_make_a_long_message():
    refused('{"' + "k" * 10_000 + '": "\\ud800"}')
    refused('{"' + "k" * 10_000 + '": 1, "' + "k" * 10_000 + '": 2}', unique=True)


def test_files_that_are_none(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/zero")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "latin").write_bytes(b'{"a": "\xe9"}')
    said = {}
    for name in ("pipe", "link", ".", "absent", "loop", "latin", "a\0b", "\ud800", "x" * 5000):
        with pytest.raises(SpecError, match=r"^the file cannot be read: ") as caught:
            read_text(tmp_path / name, "the file")
        said[name] = str(caught.value).removeprefix("the file cannot be read: ")
    assert said["pipe"] == said["link"] == said["."] == "it is no regular file"
    assert said["absent"] == "No such file or directory"
    assert "codec can't decode byte 0xe9" in said["latin"]


def test_a_large_file_is_refused_before_it_fills_the_memory(tmp_path):
    path = tmp_path / "large.json"
    with path.open("wb") as file:
        file.truncate(3 << 30)  # takes no space on the disk
    tracemalloc.start()
    try:
        with pytest.raises(SpecError, match=r"^the file cannot be read: it has more than 8,388,608 bytes$"):
            read_json(path, "the file")
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()


def test_a_file_at_the_bound_is_read(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("[1234567]")
    assert read_json(path, "the file", limit=9) == [1234567]
    with pytest.raises(SpecError, match="it has more than 8 bytes"):
        read_json(path, "the file", limit=8)
