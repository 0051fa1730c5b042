"""CHAIR: which words are mentions, what is there, and the four figures."""

import json
import re

import pytest
from PIL import Image

from tests.benchmarks.published import BROKEN, answered, data_set
from vtp_export import rooms
from vtp_export.benchmarks._coco_words import CLASSES, LEMMAS, SYNONYMS, mentioned, words_of
from vtp_export.errors import SpecError, VtpWarning

SAID = [
    "two man with a hot dog and a wine glass at a dining table",
    "a baby elephant near a motor bike and a bench",
    "a cat",
]
"""Worked examples: four mentions and one invented; two and none ("motor bike" can never match); one and none."""


def row(number, objects, **others):
    return {"question_id": number, "image": "a.png", "gt_object": objects, **others}


def test_worked_examples(tmp_path):
    rows = [
        row(1, ["person", "hot dog", "dining table"]),
        {"image_id": 2, "image": "b.png", "gt_objects": ["elephant", "bench", "bench"]},
        row("3", ["cat", "couch"]),
        row(4, ["cat", "unicorn"]),
        row(5, "cat"),
        row(6, None),
        {"image": "a.png", "gt_object": []},
        row(8, [], image=BROKEN),
        '{"question_id": 9',
    ]
    data = data_set(tmp_path, "chair", rows)
    with pytest.warns(
        VtpWarning, match="^6 questions of 'chair' are left out, the first because line 4 .*gt_objects must"
    ):
        asked = answered(data, SAID)
    assert {one.question.prompt for one in asked} == {"Please describe this image in detail."}
    assert [one.question.answer for one in asked] == ["dining table, hot dog, person", "bench, elephant", "cat, couch"]
    assert [data.credit(one) for one in asked] == [0, 1, 1]
    # Words: 14 with two pairs joined, "dining table" being none; 10 with two; 2.
    scores = {"faithful": 2 / 3, "C_S": 1 / 3, "C_I": 1 / 7, "recall": 6 / 7, "length": (12 + 8 + 2) / 3}
    assert data.score(asked) == pytest.approx(scores)
    assert next(iter(data.score(asked))) == "faithful" and data.is_mean() and data.longest == 512
    silent = answered_as(asked, "")
    assert data.score(silent) == {"faithful": 1, "C_S": 0, "C_I": 0, "recall": 0, "length": 0}


def answered_as(asked, text):
    return [type(one)(one.image, one.question, text) for one in asked]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("Dogs, a puppy; (three kittens)!", ["dog", "dog", "cat"]),
        ("A train track with a train.", ["train"]),
        ("The player at home plate. Batters wait.", ["person"]),
        ("the seat of the toilet, a toilet seat and two seats", ["toilet", "toilet"]),
        ("two seats and a chair", ["chair", "chair"]),
        ("Wine glasses on tables", ["wine glass", "dining table"]),
        ("a passenger jet, a bow tie, an adult bear", ["airplane", "tie", "bear"]),
        ("the woman's cell phones", ["person", "cell phone"]),
        ("geese, oxen, mice and calves", ["bird", "cow", "mouse", "cow"]),
        ("a stove top oven", ["oven", "oven"]),
        ("the man’s 'dog' — “cats”…", ["person", "dog", "cat"]),
        ("dog-shaped balloons", []),
        ("An iPhone", []),
        ("", []),
    ],
)
def test_mentions(text, named):
    assert list(mentioned(words_of(text))) == named


UNKNOWN = (
    "bikers",
    "bluejays",
    "brindles",
    "coworkers",
    "firetrucks",
    "hairdryers",
    "lenovos",
    "longboards",
    "macbooks",
    "netbooks",
    "paddleboats",
    "pitbulls",
    "riverboats",
    "sailboards",
    "shortboards",
    "skimboards",
    "smartphones",
    "soliders",
    "stovetops",
    "teddybears",
    "televisons",
)
"""Plurals of words that WordNet does not have."""


def test_lemmas_are_those_of_wordnet():
    """Every plural by rule is in the table, but for those that WordNet takes for something else."""
    singular = {word for words in SYNONYMS for word in words if word.isalpha() and word.islower()}
    singular -= {"people", "children", "oxen", "cattle", "skis", "scissors"}  # are plurals
    irregular = {word for word in singular if word.endswith("man")} | {"child", "grandchild", "goose", "mouse", "ox"}
    irregular |= {"sheep", "bison", "calf", "thief", "knife", "pocketknife"}
    endings = [(r"(s|x|z|ch|sh)$", r"\1es"), (r"([^aeiou])y$", r"\1ies"), (r"$", "s")]
    for word in singular - irregular:
        plural = next(re.sub(ending, new, word) for ending, new in endings if re.search(ending, word))
        known = None if plural in (*UNKNOWN, "vases") else CLASSES[word]
        assert CLASSES.get(LEMMAS.get(plural, plural)) == known, plural
    written = {"women": "woman", "policemen": "policeman", "children": "child", "knives": "knife", "buses": "bus"}
    written |= {"skis": "ski", "sports": "sport", "thieves": "thief", "puppies": "puppy"}
    assert {form: LEMMAS[form] for form in written} == written
    assert not {"men", "vases", "seated", "scissors", "people", *UNKNOWN} & {*LEMMAS}
    assert len(SYNONYMS) == 80 and len(CLASSES) == 403


def coco(folder):
    """Two pictures of three in the folder, by COCO's own files."""
    (folder / "val2014").mkdir(parents=True)
    (folder / "annotations").mkdir()
    for number in (1, 2):
        Image.new("RGB", (4, 3)).save(folder / "val2014" / f"COCO_val2014_{number:012d}.jpg")
    images = [{"id": n, "file_name": f"COCO_val2014_{n:012d}.jpg", "height": 3} for n in (1, 2, 3)]
    objects = [{"image_id": 1, "category_id": 18, "segmentation": [[1.5, 2.5]]}, {"image_id": 3, "category_id": 1}]
    categories = [{"id": 18, "name": "dog"}, {"id": 1, "name": "person"}]
    said = [{"image_id": 1, "caption": "A puppy on a sofa."}, {"image_id": 2, "caption": "Nothing at all."}]
    instances = {"images": images, "annotations": objects, "categories": categories}
    (folder / "annotations" / "instances_val2014.json").write_text(json.dumps(instances))
    (folder / "annotations" / "captions_val2014.json").write_text(json.dumps({"annotations": said}))


def test_truth_from_cocos_own_files(tmp_path, monkeypatch):
    monkeypatch.setattr("vtp_export.benchmarks._published.can_fetch", lambda: False)
    data = rooms.load("benchmarks", "chair").Benchmark(tmp_path)
    assert "instances_*.json and captions_*.json" in data.missing()
    coco(tmp_path)
    assert data.missing() is None
    asked = answered(data, ["A dog on a couch by a chair", "a cat"])
    assert [(one.image, one.question.references) for one in asked] == [("1", ("couch", "dog")), ("2", ())]
    assert data.score(asked)["C_I"] == 2 / 4
    # A list of rows chooses among them, and a row's own truth stands.
    data = data_set(tmp_path, "chair", [row(3, ["cat"]), {"image_id": 1, "image": "a.png"}, row(7, None)])
    with pytest.warns(VtpWarning, match="^1 questions"):
        examples = list(data.examples(None))
    assert [one.questions[0].answer for one in examples] == ["cat", "couch, dog"]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("instances_val2014.json", "[]", "is no file of COCO's annotations"),
        ("instances_val2014.json", '{"images": [], "annotations": [{"image_id": 1}], "categories": []}', "category_id"),
        ("instances_val2014.json", '{"categories": [{"id": 1, "name": "unicorn"}]}', "unicorn"),
        ("captions_val2014.json", '{"annotations": [{"image_id": 1, "caption": 7}]}', "is no file of COCO's"),
        ("captions_val2014.json", "{", "is not JSON"),
    ],
)
def test_what_is_no_annotation_is_one_sentence(tmp_path, name, content, words):
    coco(tmp_path)
    (tmp_path / "annotations" / name).write_text(content)
    with pytest.raises(SpecError, match=rf"{name}.*{words}"):
        list(rooms.load("benchmarks", "chair").Benchmark(tmp_path).examples(None))


def test_a_long_answer_takes_no_time():
    """Nothing in it is quadratic: a hundred thousand words of every kind."""
    text = "dog's ... 1,000 'cats' baby bear. " * 15_000 + "'" * 10_000 + "." * 10_000 + "a" * 10_000
    assert mentioned(words_of(text)).count("bear") == 15_000
