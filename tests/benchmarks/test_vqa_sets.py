"""VQA accuracy: TextVQA, VizWiz, VQAv2."""

import pytest

from tests.benchmarks.published import BROKEN, answered, data_set
from vtp_export.benchmarks._vqa import normalised, official
from vtp_export.errors import SpecError, VtpWarning

WORD = "\nAnswer the question using a single word or phrase."


def test_normalisation_does_what_was_published():
    written = {
        "Two dogs.": "2 dogs",
        "a red-white bus": "red white bus",
        "1,000": "1000",
        "$3.50": "$3.50",
        "The U.S.A.": "usa",
        "3.": "3",
        "p.m 5.30": "pm 5.30",
        "None": "0",
        "Bob's": "bob 's",
        "dont": "don't",
        "couldntve couldnt've": "couldntve couldn't've",
    }
    assert {text: normalised(text) for text in written} == written
    assert official("Bob's") == "bob's"
    assert official("." * 40) == "." * 8  # the official expression strikes out 32


def textvqa_row(image_id, question, answers, **others):
    row = {
        "image_id": image_id,
        "question_id": 1,
        "question": question,
        "answers": answers,
        "ocr_tokens": ["STOP", "3rd"],
    }
    return {**row, "image": "a.png", **others}


def test_textvqa(tmp_path):
    rows = [
        textvqa_row("one", "What does it say?", ["stop"] * 10),
        textvqa_row("one", "How many?", ["2"] * 3 + ["three"] * 7),
        textvqa_row("two", "Which street?", ["3rd"] * 2 + ["third"] * 8),
        textvqa_row("three", "Lost?", []),
        textvqa_row("four", "No picture?", ["x"] * 10, image=BROKEN),
        textvqa_row("four", "Again?", ["x"] * 10, image=BROKEN),
        textvqa_row("five", "Not there?", ["x"] * 10, image="nowhere.png"),
        {"image_id": "six", "image": "a.png"},
        '{"image_id": ',
        "[]",
    ]
    data = data_set(tmp_path, "textvqa", rows)
    with pytest.warns(VtpWarning, match="^7 questions of 'textvqa' are left out, the first because line 4 .*: answers"):
        asked = answered(data, ["Stop.", "Two", "3rd"])
    assert [one.image for one in asked] == ["one", "one", "two"]
    assert asked[0].question.prompt == f"What does it say?\nReference OCR token: STOP, 3rd{WORD}"
    assert [data.credit(one) for one in asked] == pytest.approx([1, 0.9, 0.6])
    assert [data.is_right(one) for one in asked] == [True, True, True]
    assert data.score(asked) == {"accuracy": pytest.approx(2.5 / 3)}
    plain = data_set(tmp_path, "textvqa_plain", rows[:1])
    (example,) = plain.examples(None)
    assert example.questions[0].prompt == f"What does it say?{WORD}"


def test_vizwiz(tmp_path):
    row = {
        "question_id": "VizWiz_val_0",
        "question": "What NASA is this?",
        "category": "unanswerable",
        "image": "a.png",
    }
    row["answers"] = ["unanswerable"] * 2 + ["rocket"] * 8
    other = {**row, "question_id": "VizWiz_val_1", "category": "other"}
    data = data_set(tmp_path, "vizwiz", [row, other, {**row, "category": None}, {**row, "answers": [1]}])
    with pytest.warns(VtpWarning, match="^2 questions"):
        asked = answered(data, ["Unanswerable.", "a plane"])
    insufficient = "\nWhen the provided information is insufficient, respond with 'Unanswerable'."
    assert asked[0].question.prompt == f"What NASA is this?{insufficient}{WORD}"
    scores = {"accuracy": 0.3, "accuracy unanswerable": 0.6, "accuracy other": 0}
    assert data.score(asked) == pytest.approx(scores)


def vqav2_row(number, answers, kind="other"):
    said = [{"answer": one, "answer_confidence": "yes", "answer_id": i} for i, one in enumerate(answers, 1)]
    head = {"image_id": number, "question_id": 1000 + number, "question": "What colour?", "image": "b.png"}
    return {**head, "answers": said, "multiple_choice_answer": answers[0], "answer_type": kind, "question_type": "what"}


def test_vqav2(tmp_path):
    rows = [
        vqav2_row(1, ["2"] * 3 + ["three"] * 7, "number"),
        vqav2_row(2, ["yes"] * 10, "yes/no"),
        vqav2_row(3, ["Yes"] * 10, "yes/no"),
        {**vqav2_row(4, ["x"] * 10), "answers": "x"},
        {**vqav2_row(5, ["x"] * 10), "answers": [{"answer_id": 1}]},
    ]
    data = data_set(tmp_path, "vqav2", rows)
    with pytest.warns(VtpWarning, match="^2 questions"):
        asked = answered(data, ["Two", "Yes.", "yes"])
    assert [one.image for one in asked] == ["1", "2", "3"]
    # Where all say the same nothing of theirs is normalised: the last is wrong there too.
    scores = {"accuracy": 1.9 / 3, "accuracy number": 0.9, "accuracy yes/no": 0.5}
    assert data.score(asked) == pytest.approx(scores)


def test_nothing_left_is_refused(tmp_path):
    data = data_set(tmp_path, "vizwiz", ["{}"])
    with pytest.raises(
        SpecError, match=r"nothing in the benchmark 'vizwiz' can be used: line 1 of .*: question_id must"
    ):
        list(data.examples(None))
