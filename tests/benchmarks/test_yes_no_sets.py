"""POPE's F1, MME's acc+, GQA's exact match."""

import json

import pytest
from PIL import Image

from tests.benchmarks.published import BROKEN, answered, data_set
from vtp_export import rooms
from vtp_export.errors import VtpWarning

WORD = "\nAnswer the question using a single word or phrase."


def pope_row(number, answer, category="random", **others):
    row = {"question_id": str(number), "question": "Is there a dog in the image?", "answer": answer}
    return {**row, "image_source": f"COCO_{number % 2}", "category": category, "image": "a.png", **others}


def test_pope(tmp_path):
    rows = [pope_row(number, gold) for number, gold in enumerate(("yes", "yes", "yes", "no", "no", "no"))]
    rows += [pope_row(6, "no", "popular"), pope_row(7, "yes", "popular")]
    rows += [pope_row(8, "maybe"), pope_row(9, "yes", category=None), {**pope_row(1, "yes"), "image_source": "other"}]
    rows[-1]["image"] = BROKEN
    data = data_set(tmp_path, "pope", rows)
    with pytest.warns(VtpWarning, match="^3 questions of 'pope' are left out, the first because line 9 "):
        first, second = data.examples(None)
    assert [q.answer for q in first.questions + second.questions] == [
        "yes",
        "yes",
        "no",
        "no",
        "yes",
        "no",
        "no",
        "yes",
    ]
    assert first.questions[0].prompt == f"Is there a dog in the image?{WORD}"
    # random: two hits, one false alarm ("NO" is none of the three words), one miss; popular: one hit, one false alarm.
    texts = ["Yes, a dog", "No", "No, it is not", "I cannot see it", "yes", "NO", "no", "Yes. No cat"]
    with pytest.warns(VtpWarning, match="^3 questions"):
        asked = answered(data, texts)
    assert [data.credit(one) for one in asked] == [1, 0, 1, 0, 1, 0, 1, 1]
    scores = {"F1": (2 / 3 + 2 / 3) / 2, "F1 random": 2 / 3, "F1 popular": 2 / 3, "accuracy": 5 / 8}
    assert data.score(asked) == pytest.approx(scores)


def mme_row(name, answer, category, **others):
    question = "Is this right? Please answer yes or no."
    return {
        "question_id": name,
        "question": question,
        "answer": answer,
        "category": category,
        "image": "a.png",
    } | others


def test_mme(tmp_path):
    rows = [mme_row(f"existence/{n}.png", gold, "existence") for n in range(2) for gold in ("Yes", "No")]
    rows += [mme_row("OCR/0.png", gold, "OCR") for gold in ("Yes", "No")]
    rows += [mme_row("code_reasoning/0.png", gold, "code_reasoning") for gold in ("Yes", "No")]
    rows += [mme_row("OCR/1.png", "Yes", "OCR"), mme_row("OCR/2.png", "Yes", "ocr"), mme_row("OCR/3.png", 1.5, "OCR")]
    data = data_set(tmp_path, "mme", rows)
    with pytest.warns(VtpWarning, match=r"^3 questions of 'mme' are left out"):
        asked = answered(data, ["Yes.", "no", "Y", "yes", "I know", "Not sure", "yes, it is", "Nope"])
    assert asked[0].question.prompt == f"Is this right?{WORD}"
    # existence 75 + 50, OCR 50 + 0, code_reasoning 100 + 100
    assert data.score(asked) == pytest.approx({"MME": 375 / 600, "perception": 175, "cognition": 200, "total": 375})
    assert data.score(asked[:6])["perception"] == 175 and data.score(asked[:6])["cognition"] == 0
    assert not data.is_mean()


def test_gqa(tmp_path):
    rows = [
        {"id": "1", "imageId": "n1", "question": "Is it red?", "answer": "yes"},
        {"id": "2", "imageId": "n1", "question": "On which side?", "answer": "left"},
        {"id": "3", "imageId": "n2", "question": "What is worn?", "answer": "t-shirt"},
        {"id": "4", "imageId": "n2", "question": "What is worn?", "answer": "t-shirt"},
        {"id": "5", "imageId": "n3", "question": "No picture?", "answer": "yes"},
        {"id": "6", "imageId": "n1", "question": "", "answer": "yes"},
        {"id": "7", "imageId": ["n1"], "question": "Odd?", "answer": "yes"},
    ]
    pictures = tmp_path / "testdev_balanced_images"
    pictures.mkdir()
    data = rooms.load("benchmarks", "gqa").Benchmark(tmp_path)
    Image.new("RGB", (5, 4)).save(pictures / "n.png")
    (pictures / "testdev.json").write_text(json.dumps([{"id": "n1", "image": "n.png"}, {"id": "n2", "image": "n.png"}]))
    assert "fetch testdev_balanced_instructions/testdev and testdev_balanced_images/testdev of" in (
        data.missing() or ""
    )
    data = data_set(tmp_path, "gqa", rows)
    with pytest.warns(VtpWarning, match="^3 questions of 'gqa'"):
        asked = answered(data, ["Yes.", "a left", "t shirt", "T-shirt"])
    assert asked[0].question.prompt == f"Is it red?{WORD}"
    assert [data.credit(one) for one in asked] == [1, 0, 0, 1]
    assert data.score(asked) == {"accuracy": 0.5}
