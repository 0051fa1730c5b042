"""An artefact as VLMEvalKit asks it: messages in the shape that its base class hands on."""

import pytest

from tests.integrations.asking import expected, pruned_artefact, scenes
from vtp_export.errors import ImageError, SpecError
from vtp_export.integrations.pruned_model import Asked
from vtp_export.integrations.vlmevalkit import Model

pytestmark = pytest.mark.whole


@pytest.fixture(scope="module")
def artefact(tmp_path_factory):
    return pruned_artefact(tmp_path_factory.mktemp("vlmevalkit") / "artefact")


@pytest.fixture(scope="module")
def model(artefact):
    return Model(str(artefact), "onnx", longest=64)


def messages(folder, count=2):
    """As `BaseModel.generate` passes them: parts with type and value, a picture by its path."""
    for example, questions in scenes(count):
        path = folder / f"{example.name}.png"
        example.open().save(path)
        for question in questions:
            yield [{"type": "image", "value": str(path)}, {"type": "text", "value": question.prompt}]


def test_answers_are_those_of_validate(model, artefact, tmp_path):
    found = [model.generate_inner(message, dataset="Any") for message in messages(tmp_path)]
    assert found == expected(artefact, 2)


def test_parts_are_joined_in_their_order(model, tmp_path):
    first, _, second, _ = (image for image, _ in messages(tmp_path))
    parts = [{"type": "text", "value": "How many"}, first, {"type": "text", "value": "shapes?"}, second]
    asked = Asked((first["value"], second["value"]), "How many\nshapes?", 64)
    assert model.generate_inner(parts) == model._model.answer([asked])[0]


@pytest.mark.parametrize(
    ("message", "error", "words"),
    [
        ([{"type": "video", "value": "a.mp4"}], SpecError, "'video'; an artefact reads image and text"),
        ([{"type": "text", "value": "What?"}], SpecError, "no pictures were given"),
        ([{"type": "image", "value": "/nowhere.png"}], ImageError, "nowhere"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(model, message, error, words):
    with pytest.raises(error, match=words):
        model.generate_inner(message)
