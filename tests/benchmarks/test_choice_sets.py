"""Multiple choice, charts and reading: ScienceQA, MMBench, AI2D, ChartQA, OCRBench."""

import pytest

from tests.benchmarks.published import BROKEN, answered, data_set
from vtp_export.errors import VtpWarning

LETTER = "\nAnswer with the option's letter from the given choices directly."


def test_scienceqa(tmp_path):
    row = {"question": "Which?", "choices": ["x", "y"], "answer": 1, "hint": "Look.", "subject": "natural science"}
    row |= {"image": "a.png"}
    rows = [*[row] * 9, {**row, "hint": "", "subject": "social science"}]
    rows += [{**row, "answer": 2}, {**row, "choices": None}, {**row, "image": None}]
    data = data_set(tmp_path, "scienceqa", rows)
    with pytest.warns(VtpWarning, match="^3 questions of 'scienceqa'"):
        asked = answered(data, ["B", "b", "B.", "B. y", " B\n", "(B)", "B) y", "The answer is B.", "b. y", "C"])
    assert asked[0].question.prompt == f"Context: Look.\nWhich?\nA. x\nB. y{LETTER}"
    assert asked[-1].question.prompt == f"Which?\nA. x\nB. y{LETTER}"
    assert [data.credit(one) for one in asked] == [1, 0, 0, 1, 1, 0, 0, 1, 0, 0]
    scores = {"accuracy": 0.4, "accuracy natural science": 4 / 9, "accuracy social science": 0}
    assert data.score(asked) == pytest.approx(scores)


def mmbench_row(index, answer, **others):
    row = {"index": index, "question": "What?", "hint": "nan", "answer": answer, "A": "dog", "B": "cat", "C": "nan"}
    return {**row, "D": None, "category": "identity", "image": "a.png", **others}


@pytest.mark.parametrize(("name", "ending"), [("mmbench", LETTER), ("mmbench_cn", "\n请直接回答选项字母。")])
def test_mmbench(tmp_path, name, ending):
    rows = [mmbench_row(1, "A"), mmbench_row(1_000_001, "B"), mmbench_row("2", "B", hint="Look."), mmbench_row(3, "A")]
    rows += [mmbench_row(1_000_002, "B"), mmbench_row(1_000_009, "A"), mmbench_row(4, "C"), mmbench_row("x", "A")]
    data = data_set(tmp_path, name, rows)
    with pytest.warns(VtpWarning, match=f"^3 questions of '{name}'"):
        asked = answered(data, ["A", "B. cat", "B", "A dog", "a banana"])
    assert [one.image for one in asked] == ["1", "1", "2", "2", "3"]
    assert asked[0].question.prompt == f"What?\nA. dog\nB. cat{ending}"
    assert asked[2].question.prompt == f"Look.\nWhat?\nA. dog\nB. cat{ending}"
    # 1 is right both times, 2 only in its first row; of 3 neither option is named ("nan" is none).
    assert data.score(asked) == pytest.approx({"circular": 1 / 3, "one pass": 2 / 3})


def test_mmbench_as_published(tmp_path):
    data = data_set(tmp_path, "mmbench", [mmbench_row(index, "AB"[index > 9]) for index in (1, 1_000_001, 2, 3)])
    asked = answered(data, ["A", "B. cat", "B", "A"])
    assert data.score(asked)["circular"] == pytest.approx(2 / 3)


def test_ai2d(tmp_path):
    row = {"question": "Eats?", "options": ["a", "b", "krill", "d"], "answer": "2", "image": "a.png"}
    data = data_set(tmp_path, "ai2d", [*[row] * 4, {**row, "answer": "4"}, {**row, "answer": "two"}])
    with pytest.warns(VtpWarning, match="^2 questions of 'ai2d'"):
        asked = answered(data, ["C. krill", "c", "(C)", "C krill"])
    assert asked[0].question.prompt == f"Eats?\nA. a\nB. b\nC. krill\nD. d{LETTER}"
    assert data.score(asked) == {"accuracy": 0.75}


def test_chartqa(tmp_path):
    pairs = ["10.5/10", "10.51/10", "0.1/10%", "10/10%", "0.0/0", "0/0", "1,000/1000", "yes./yes", "2016/2015"]
    given, wanted = zip(*(pair.split("/") for pair in pairs), strict=True)
    rows = [{"type": "human_test", "question": "How many?", "answer": one, "image": "a.png"} for one in wanted]
    rows[-1]["type"] = "augmented_test"
    rows += [{**rows[0], "answer": None}, {**rows[0], "image": BROKEN}]
    data = data_set(tmp_path, "chartqa", rows)
    with pytest.warns(VtpWarning, match="^2 questions of 'chartqa'"):
        asked = answered(data, list(given))
    assert asked[0].question.prompt == "How many?\nAnswer the question with a single word."
    assert [data.credit(one) for one in asked] == [1, 0, 1, 0, 0, 1, 0, 0, 1]
    scores = {"accuracy": 4 / 9, "accuracy human_test": 3 / 8, "accuracy augmented_test": 1}
    assert data.score(asked) == pytest.approx(scores)


def test_ocrbench(tmp_path):
    row = {"dataset": "IIIT5K", "question": "Read.", "question_type": "Regular Text Recognition", "answer": ["CENTRE"]}
    row |= {"image": "a.png"}
    formula = {**row, "dataset": "HME100k", "answer": ["x^{2}+1"]}
    rows = [row, {**row, "answer": "two\nlines"}, formula, formula, {**row, "answer": []}, {**row, "answer": " "}]
    data = data_set(tmp_path, "ocrbench", rows)
    with pytest.warns(VtpWarning, match="^2 questions of 'ocrbench'"):
        asked = answered(data, ["it says centre.", "Two lines", "x ^ {2} + 1", "X^{2}+1"])
    assert asked[0].question.prompt == "Read."
    assert [data.credit(one) for one in asked] == [1, 1, 1, 0]
    assert data.score(asked) == {"accuracy": 0.75}
