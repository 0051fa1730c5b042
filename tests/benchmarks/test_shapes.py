"""Benchmark shapes: what is asked is true, splits share nothing, and the scores are what their definitions say."""

import hashlib
import itertools

import numpy as np
import pytest

from vtp_export.benchmarks import _questions as ask
from vtp_export.benchmarks._metrics import accuracy_by_kind, captions_of, chair, is_right, mentioned, pope_f1
from vtp_export.benchmarks._scenes import COLOURS, SHAPES, background_photos, cover, kinds
from vtp_export.benchmarks.base import Answered, Question
from vtp_export.benchmarks.shapes import SPLITS, Benchmark, scene_of
from vtp_export.errors import SpecError, UnavailableError

SCENES = [scene_of("test", number) for number in range(60)]


def digest(split, number):
    return hashlib.sha256(scene_of(split, number)[0].pixels.tobytes()).hexdigest()


def test_two_passes_are_the_same():
    first, second = list(Benchmark().examples(5)), list(Benchmark().examples(5))
    assert [e.name for e in first] == [f"scene-{i:04d}" for i in range(5)]
    assert [(e.name, e.open().tobytes(), e.questions) for e in first] == [
        (e.name, e.open().tobytes(), e.questions) for e in second
    ]


def test_limits():
    assert len(list(Benchmark().examples(None))) == 400
    assert len(list(Benchmark().examples(401))) == 401
    with pytest.raises(SpecError, match="limit is 0"):
        list(Benchmark().examples(0))


def test_missing_photographs_are_named(monkeypatch):
    monkeypatch.setattr("vtp_export.benchmarks.photos.Benchmark.missing", lambda self: "no photographs: pip install x")
    with pytest.raises(UnavailableError, match="pip install x"):
        list(Benchmark().examples(1))


def test_splits_share_no_seed_no_scene_and_no_photograph():
    assert len(set(SPLITS.values())) == len(SPLITS)
    scenes = {split: {digest(split, number) for number in range(40)} for split in SPLITS}
    for one, other in itertools.combinations(SPLITS, 2):
        assert not scenes[one] & scenes[other]
    tested, trained = background_photos(held_out=True), background_photos(held_out=False)
    assert tested and trained
    assert not {p.tobytes() for p in tested} & {p.tobytes() for p in trained}


def test_calibration_reads_its_own_split():
    assert Benchmark().calibration().split == "calibration"
    first = next(iter(Benchmark().calibration().examples(1)))
    assert hashlib.sha256(np.asarray(first.open()).tobytes()).hexdigest() == digest("calibration", 0)


def test_scenes_go_from_one_object_to_a_crowd():
    counts = [len(scene.things) for scene, _ in SCENES]
    assert min(counts) == 1
    assert max(counts) >= 9
    assert np.mean([count == 1 for count in counts]) > 0.1


def test_objects_are_inside_apart_and_of_their_colour():
    for scene, _ in SCENES:
        for thing in scene.things:
            rows, columns, alpha = cover(thing, scene.pixels.shape[0])
            inside = scene.pixels[rows, columns][alpha > 0.99].astype(float)
            assert len(inside) > 10
            assert np.abs(inside.mean(0) - COLOURS[thing.colour]).max() < 30
            assert thing.size / 2 <= min(thing.x, thing.y) and max(thing.x, thing.y) <= 96 - thing.size / 2
        for one, other in itertools.combinations(scene.things, 2):
            assert max(abs(one.x - other.x), abs(one.y - other.y)) > (one.size + other.size) / 2


def truth(scene, prompt):
    """The answer, worked out from the words of the question."""
    words = prompt.rstrip("?.").split()
    if prompt.startswith("Is there"):
        return "yes" if any([t.colour, t.shape] == words[-2:] for t in scene.things) else "no"
    if prompt.startswith("What colour"):
        (thing,) = [t for t in scene.things if t.shape == words[-1]]
        return thing.colour
    if prompt.startswith("How many"):
        shape = words[2].removesuffix("es") if words[2] == "crosses" else words[2].removesuffix("s")
        return ("zero", "one", "two", "three", "four")[sum(t.shape == shape for t in scene.things)]
    if prompt.startswith("Where"):
        (thing,) = [t for t in scene.things if [t.colour, t.shape] == words[-2:]]
        return f"{'top' if thing.y < 48 else 'bottom'} {'left' if thing.x < 48 else 'right'}"
    return None


def test_answers_are_true():
    asked = set()
    for scene, generator in SCENES:
        for question in ask.questions_of(scene, generator):
            asked.add(question.kind)
            if question.kind == "caption":
                assert set(mentioned(question.answer)) == {thing.name for thing in scene.things}
            else:
                assert question.answer == truth(scene, question.prompt), question
    assert asked == {"yes/no random", "yes/no popular", "yes/no adversarial", "colour", "count", "position", "caption"}


def test_absent_objects_of_the_settings():
    for scene, generator in SCENES:
        present = {thing.name for thing in scene.things}
        absent = [name for name in kinds() if name not in present]
        popular = [q for q in ask.existence(scene, "popular", generator, 2) if q.answer == "no"]
        assert all(q.prompt[len("Is there a ") : -1] in absent[:5] for q in popular)
        for question in ask.existence(scene, "adversarial", generator, 2):
            if question.answer == "no":
                colour, shape = question.prompt[:-1].split()[-2:]
                assert any(colour == t.colour for t in scene.things) or any(shape == t.shape for t in scene.things)


def test_every_word_has_a_number():
    words = set(ask.vocabulary())
    for scene, generator in SCENES:
        for question in ask.questions_of(scene, generator):
            for text in (question.prompt, question.answer):
                spaced = text.lower().replace("?", " ? ").replace(".", " . ").replace(",", " , ")
                assert set(spaced.split()) <= words


def said(kind, answer, text):
    return Answered("scene", Question(kind, "?", answer), text)


@pytest.mark.parametrize(
    ("kind", "answer", "text", "right"),
    [
        ("yes/no random", "yes", "Yes.", True),
        ("yes/no random", "yes", "no", False),
        ("position", "top left", "top left of it", True),
        ("position", "top left", "top", False),
        ("count", "two", "", False),
        ("caption", "a red ring, a blue cross.", "a red ring, a blue cross", True),
        ("caption", "a red ring, a blue cross.", "a red ring", False),
    ],
)
def test_is_right(kind, answer, text, right):
    assert is_right(said(kind, answer, text)) is right


def test_accuracy_leaves_captions_out():
    asked = [said("colour", "red", "red"), said("colour", "red", "blue"), said("caption", "a red ring.", "nothing")]
    assert accuracy_by_kind(asked) == {"accuracy": 0.5, "colour": 0.5}


def test_pope_f1_by_hand():
    # 2 true positives, 1 false positive, 1 false negative: F1 = 4 / 6.
    pairs = [("yes", "yes"), ("yes", "Yes"), ("no", "yes"), ("yes", "no"), ("no", "no")]
    scores = pope_f1([said("yes/no popular", answer, text) for answer, text in pairs])
    assert scores == {"F1": pytest.approx(2 / 3), "F1 popular": pytest.approx(2 / 3)}
    assert pope_f1([said("colour", "red", "red")]) == {}


def test_chair_by_hand():
    # Paper eq. 5: 1 of 4 mentioned objects is invented, in 1 of 2 captions; 3 of 4 true objects are found.
    asked = [
        said("caption", "a red ring, a blue cross.", "a red ring, a blue cross, a cyan circle"),
        said("caption", "a green square, a red ring.", "a green square"),
    ]
    assert chair(captions_of(asked)) == {"C_S": 0.5, "C_I": 0.25, "recall": 0.75, "length": 6.0}


def test_vocabulary_covers_objects():
    assert {*COLOURS, *SHAPES} <= set(ask.vocabulary())
