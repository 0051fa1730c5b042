"""The user's own questions."""

import json

import pytest
from PIL import Image

from vtp_export.benchmarks._lookup import benchmark_of
from vtp_export.benchmarks.base import Answered
from vtp_export.errors import SpecError, UnknownNameError

CAT = {"image": "a b.png", "prompt": "Is there a cat?", "answer": "yes"}
HUE = {"image": "below/b.png", "prompt": "Which colour?", "answer": "Dark red", "kind": "colour"}


@pytest.fixture
def asked(tmp_path):
    (tmp_path / "below").mkdir()
    for name, size in (("a b.png", (4, 3)), ("below/b.png", (5, 2))):
        Image.new("RGB", size).save(tmp_path / name)

    def write(*lines):
        path = tmp_path / "mine.jsonl"
        path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
        return path

    return write


def test_lines_become_questions_about_images(asked):
    data = benchmark_of(asked(CAT, "", HUE, {**CAT, "prompt": "A dog?", "answer": "no"}))
    first, second = data.examples(None)
    assert (first.name, second.name) == ("a b.png", "below/b.png")
    assert [q.prompt for q in first.questions] == ["Is there a cat?", "A dog?"]
    assert (first.open().size, second.open().size) == ((4, 3), (5, 2))
    assert [example.name for example in data.examples(1)] == ["a b.png"]
    texts = ("Yes, it is.", "Yes.", "dark Red, I think")
    answered = [
        Answered(name, question, text)
        for (name, question), text in zip(
            [(one.name, question) for one in (first, second) for question in one.questions], texts, strict=True
        )
    ]
    assert data.score(answered) == {"accuracy": 2 / 3, "question": 0.5, "colour": 1.0}
    assert data.score(answered[:2]) == {"accuracy": 0.5}


def test_a_file_may_be_large_and_of_any_system(asked):
    """Separators that JSON allows inside a text end no line; 107,000 questions are 16 MB."""
    odd = json.dumps({**CAT, "prompt": "A\u2028cat\x85 or\u2029not?"}, ensure_ascii=False)
    for ending in ("\n", "\r\n", "\r"):
        path = asked("x")
        path.write_bytes(ending.join([f"\ufeff{odd}", *[" " * 99] * 100_000, json.dumps(CAT), ""]).encode())
        (example,) = benchmark_of(path).examples(None)
        assert [q.prompt for q in example.questions] == ["A\u2028cat\x85 or\u2029not?", CAT["prompt"]]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "line 2"),
        ("[]", "line 2 .* must be an object with image, prompt, answer"),
        ({"image": "a b.png", "prompt": "x"}, "must be an object with"),
        ({**CAT, "anwser": "x"}, "must be an object with"),
        ({**CAT, "answer": ["yes"]}, "answer must be a text"),
        ({**CAT, "answer": " ?"}, "answer must have a word"),
        ({**CAT, "prompt": " "}, "prompt must be a text that is not empty"),
        ({**CAT, "kind": "accuracy"}, "may not be called 'accuracy'"),
        ({**CAT, "image": "c.png"}, "line 2 .* no image .*c.png"),
        ({**CAT, "image": "a\0b"}, "image must be a text"),
        ({**CAT, "image": "x" * 5000}, "no image"),
    ],
)
def test_a_line_that_is_none_is_told_with_its_number(asked, line, words):
    with pytest.raises(SpecError, match=words):
        benchmark_of(asked(CAT, line))


def test_nothing_asked_and_nothing_there(asked, tmp_path):
    with pytest.raises(SpecError, match="holds no questions"):
        benchmark_of(asked(""))
    with pytest.raises(UnknownNameError, match="no folder, question file or benchmark named"):
        benchmark_of(tmp_path / "other.jsonl")


def test_a_picture_is_no_question_file(tmp_path):
    Image.new("RGB", (4, 3)).save(tmp_path / "photo.png")
    with pytest.raises(
        SpecError, match=r"photo\.png' is one picture; name the folder that holds it, or a question file"
    ):
        benchmark_of(tmp_path / "photo.png")
