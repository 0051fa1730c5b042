"""An artefact that keeps too little to be always right, questions about scenes, and what the product itself answers."""

import numpy as np

from vtp_export.benchmarks.shapes import Benchmark
from vtp_export.graphs.assembly import source_of
from vtp_export.integrations.transformers import Answerer
from vtp_export.pipeline.export import export
from vtp_export.runtime.any_grid import load

KEEP = 2


def scenes(count=4):
    """Scenes, each with two questions whose answers are yes or no."""
    for example in Benchmark().examples(count):
        asked = [question for question in example.questions if question.kind.startswith("yes/no")]
        yield example, asked[:2]


def say_the_same(alone, plain, artefact, gap):
    """Answers of a runtime are those of another, token for token; gaps of the best logits within `gap`."""
    with load(artefact, "onnx") as front_end:
        for scene in Benchmark().examples(4):
            (picture,) = front_end.pictures(scene.open())
            prompts = [question.prompt for question in scene.questions]
            for own, wanted in zip(alone.answer(picture, prompts), plain.answer(picture, prompts), strict=True):
                assert (own.ids, own.text) == (wanted.ids, wanted.text)
                np.testing.assert_allclose(own.gaps, wanted.gaps, atol=gap)


def pruned_artefact(folder):
    export("tiny-llava", folder, keep=KEEP)
    return folder


def expected(artefact, count=4, longest=64):
    """Answers to the questions of `scenes`, one by one, as `validate --answers` takes them."""
    model, answers = Answerer(source_of("tiny-llava")), []
    with load(artefact, "onnx") as front:
        for example, questions in scenes(count):
            (picture,) = front.pictures(example.open())
            answers += [model.answer(picture, [q.prompt], longest)[0].text for q in questions]
    return answers
