"""Runtimes of a language model, that are asked what Transformers is asked.

Most read visual tokens. One that sees the picture itself is asked about what the artefact's model is given of it, so
that its own resizing plays no part.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from vtp_export.benchmarks.base import Answered, Decoded, Example
from vtp_export.parity.asking import LONGEST, Reply, refuse_silent
from vtp_export.progress import Progress, silent
from vtp_export.runtime.preprocess import model_views
from vtp_export.spec import Preprocessing


class Onlooker(Protocol):
    """A runtime that sees the picture; see `integrations.openvino_genai.Pipeline`."""

    def answer(self, view: np.ndarray, prompts: Sequence[str], longest: int) -> list[Decoded]:
        """Answer questions about one picture, (h, w, 3) bytes of RGB."""
        ...


def answers_from_sight(
    model: Onlooker,
    examples: Sequence[Example],
    prep: Preprocessing,
    progress: Progress = silent,
    longest: int = LONGEST,
) -> list[Reply]:
    """Ask every question of every example, one picture at a time.

    Args:
        model: answers.
        examples: pictures with their questions.
        prep: of the artefact, of one view a picture.
        progress: hears of every picture.
        longest: most tokens of an answer.

    Raises:
        SpecError: there are no questions.
    """
    refuse_silent(examples)
    replies: list[Reply] = []
    for done, example in enumerate(examples):
        progress("answering", done, len(examples))
        (view,) = model_views(example.open(), prep, [example.name])
        decoded = model.answer(view, [question.prompt for question in example.questions], longest)
        replies += [
            Reply(Answered(example.name, question, answer.text), answer)
            for question, answer in zip(example.questions, decoded, strict=True)
        ]
    return replies
