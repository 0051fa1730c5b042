"""Rows that nobody meant: every column of every published set missing, or of another type, one at a time."""

import warnings

import pytest

from tests.benchmarks.published import BROKEN, data_set
from vtp_export.errors import SpecError, VtpWarning

CHOICE = {"question": "Which?", "A": "dog", "B": "cat", "C": "nan", "D": None, "hint": "nan", "category": "identity"}
PEOPLE = ["red"] * 10
GOOD = {
    "ai2d": {"question": "Eats?", "options": ["a", "b"], "answer": "1"},
    "chair": {"question_id": 1, "gt_object": ["dog"]},
    "chartqa": {"type": "human_test", "question": "How many?", "answer": "10"},
    "mmbench": {**CHOICE, "index": 1, "answer": "A"},
    "mmbench_cn": {**CHOICE, "index": 1, "answer": "A"},
    "ocrbench": {"dataset": "IIIT5K", "question": "Read.", "question_type": "Regular", "answer": ["CENTRE"]},
    "pope": {"question": "A dog?", "answer": "yes", "image_source": "one", "category": "random"},
    "scienceqa": {"question": "Which?", "choices": ["x", "y"], "answer": 1, "hint": "", "subject": "biology"},
    "textvqa": {"image_id": "one", "question": "What?", "answers": PEOPLE, "ocr_tokens": ["STOP"]},
    "textvqa_plain": {"image_id": "one", "question": "What?", "answers": PEOPLE},
    "vizwiz": {"question_id": "one", "question": "What?", "answers": PEOPLE, "category": "other"},
    "vqav2": {
        "image_id": 1,
        "question": "What?",
        "answers": [{"answer": one} for one in PEOPLE],
        "answer_type": "other",
        "multiple_choice_answer": "red",
    },
}
"""A row of each; of `mme` and `gqa`, whose rows stand together, there are tests of their own."""

OTHER = {"pope": {"image_source": "two"}, "textvqa": {"image_id": "two"}, "textvqa_plain": {"image_id": "two"}}
OTHER |= {"mmbench": {"index": 2}, "mmbench_cn": {"index": 2}, "chair": {"question_id": 2}, "vqav2": {"image_id": 2}}
OTHER |= {"vizwiz": {"question_id": "two"}}
"""What makes a row one about another picture, where rows share them."""

OPTIONAL = {"hint", "C", "D"}
"""May be anything that is none."""

ODD = [None, "", " ", 1.5, True, [], {}, [None], [[]], {"a": 1}, "\udc80", "x" * 10_000, -1, 10**30, float("nan")]


def used(folder, name, row):
    """How many questions are asked of these two rows, one of which is good; and how many are left out."""
    data = data_set(folder, name, [{**GOOD[name], "image": "a.png"}, row])
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", VtpWarning)
        asked = sum(len(example.questions) for example in data.examples(None))
    counted = [int(str(one.message).split()[0]) for one in told]
    return asked, sum(counted)


@pytest.mark.parametrize("name", GOOD)
def test_a_column_that_is_missing_or_of_another_type_is_counted(tmp_path, name):
    whole = {**GOOD[name], **OTHER.get(name, {}), "image": "b.png"}
    assert used(tmp_path, name, whole) == (2, 0)
    for column in whole:
        without = {key: value for key, value in whole.items() if key != column}
        if column not in OPTIONAL:
            assert used(tmp_path, name, without) == (1, 1), column
        for odd in ODD:
            asked, left_out = used(tmp_path, name, {**whole, column: odd})
            assert asked + left_out == 2, (column, odd)
    for image in (None, BROKEN, "nowhere.png", 7, ["b.png"], "a\0b", "x" * 5000, {"bytes": "b"}):
        assert used(tmp_path, name, {**whole, "image": image}) == (1, 1), image


@pytest.mark.parametrize("line", ["{", "[]", "7", "null", '"text"', "\x00", '{"a": 1e999}', "[" * 200 + "]" * 200])
def test_a_line_that_is_no_row_is_counted(tmp_path, line):
    assert used(tmp_path, "chartqa", line) == (1, 1)


def test_parquet_of_other_columns_and_types(tmp_path):
    import pyarrow
    import pyarrow.parquet

    data = data_set(tmp_path, "chartqa", [])
    (tmp_path / "data" / "test.jsonl").unlink()
    path = tmp_path / "data" / "test-0.parquet"

    def write(**columns):
        pyarrow.parquet.write_table(pyarrow.table(columns), path)

    kinds, texts = ["human_test"] * 2, ["10", "11"]
    for broken in (
        {"type": kinds, "question": texts},
        {"type": kinds, "question": texts, "answer": [1.5, 2.5], "image": ["a.png"] * 2},
        {"type": kinds, "question": texts, "answer": texts},
        {"type": kinds, "question": texts, "answer": texts, "image": [1, 2]},
        {"type": kinds, "question": texts, "answer": texts, "image": [b"raw", b"raw"]},
        {"type": kinds, "question": [[1], [2]], "answer": texts, "image": ["a.png"] * 2},
        {"other": kinds},
        {"type": [], "question": [], "answer": []},
    ):
        write(**broken)
        with pytest.raises(SpecError, match=r"^nothing in the benchmark 'chartqa' can be used"):
            list(data.examples(None))
    write(type=kinds, question=texts, answer=texts, image=["a.png", "nowhere.png"])
    with pytest.warns(VtpWarning, match="^1 questions"):
        assert len(list(data.examples(None))) == 1
    sound = path.read_bytes()
    for cut in (0, 3, len(sound) // 2, len(sound) - 5):
        path.write_bytes(sound[:cut])
        with pytest.raises(SpecError, match=r"test-0\.parquet' cannot be read"):
            list(data.examples(None))
    damaged = bytearray(sound)
    damaged[4:60] = bytes(56)
    path.write_bytes(damaged)
    with pytest.raises(SpecError, match=r"cannot be read|nothing in the benchmark"):
        list(data.examples(None))
