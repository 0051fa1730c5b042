"""Seeded scenes of coloured shapes with questions: existence (POPE), colour, count, position, caption (CHAIR).

From one large object to a crowd of small ones, on plain, textured and photographic backgrounds, so that the complexity
of the images really varies. The test split shares no seed and no background photograph with the others.
"""

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
from PIL import Image

from vtp_export.benchmarks import base
from vtp_export.benchmarks._metrics import accuracy_by_kind, captions_of, chair, is_right, pope_f1
from vtp_export.benchmarks._questions import questions_of
from vtp_export.benchmarks._scenes import Scene, background_photos, draw_scene
from vtp_export.benchmarks.photos import Benchmark as Photos
from vtp_export.errors import SpecError, UnavailableError

SPLITS = {"train": 1, "calibration": 2, "test": 3}
"""First half of the seed of a scene; the second half is its number."""
IMAGES = 400
"""Of the test split, when no limit is given."""
MOST = 100_000
"""Scenes that are drawn at a time: they are held in memory, 34 GB of them."""


def scene_of(split: str, number: int, size: int | None = None) -> tuple[Scene, np.random.Generator]:
    """A scene of a split, and the generator that its questions are to be drawn with."""
    generator = np.random.default_rng([SPLITS[split], number])
    photos = background_photos(held_out=split == "test")
    return (draw_scene(generator, photos) if size is None else draw_scene(generator, photos, size)), generator


class Benchmark(base.Benchmark):
    """One split, in the order of its numbers."""

    def __init__(self, split: str = "test") -> None:
        self.split = split

    def examples(self, limit: int | None) -> Iterator[base.Example]:
        """Yield scenes with their questions.

        Args:
            limit: stop after so many, at least 1; None yields the split's usual 400.

        Raises:
            SpecError: the limit is below 1, or more than `MOST`.
            UnavailableError: the background photographs are not installed.
        """
        if reason := self.missing():
            raise UnavailableError(reason)
        if limit is not None and limit > MOST:
            raise SpecError(f"limit is {limit}, and scenes are drawn up to {MOST} at a time")
        for number in base.limited(range(IMAGES if limit is None else limit), limit):
            scene, generator = scene_of(self.split, number)
            yield base.Example(
                f"scene-{number:04d}", partial(Image.fromarray, scene.pixels), questions_of(scene, generator)
            )

    def missing(self) -> str | None:
        """Why the background photographs are not here, or None."""
        return Photos().missing()

    def calibration(self) -> "Benchmark":
        """The split that is neither trained nor tested on."""
        return Benchmark("calibration")

    def spread(self, count: int | None) -> tuple[list[base.Example], int]:
        """See `base.Benchmark`; scenes are drawn one as likely as another, and as many as are asked for."""
        drawn = list(self.examples(count))
        return drawn, len(drawn)

    def is_right(self, answered: base.Answered) -> bool:
        """Whether an answer is right."""
        return is_right(answered)

    def counts(self, question: base.Question) -> bool:
        """Captions have metrics of their own."""
        return question.kind != "caption"

    def score(self, asked: Sequence[base.Answered]) -> dict[str, float]:
        """Accuracy, accuracy of each kind of question, POPE's F1, CHAIR."""
        return {**accuracy_by_kind(asked), **pope_f1(asked), **chair(captions_of(asked))}
