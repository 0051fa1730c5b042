"""The user's own questions, as a data set: a file of JSON lines."""

import os
import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from vtp_export.benchmarks import base
from vtp_export.benchmarks._metrics import begins_with
from vtp_export.errors import SpecError
from vtp_export.json_records import parse_json, read_text
from vtp_export.runtime.images import read_image

KEYS = ("image", "prompt", "answer")
KIND = "question"


MAX_BYTES = 1 << 28
"""A million questions."""


class QuestionFile(base.Benchmark):
    """One line a question: `{"image": "a.jpg", "prompt": "Is there a cat?", "answer": "yes"}`.

    `image` is a path, relative to the file; a `kind` may be added, by which scores are grouped. An answer is right when
    it begins with the words of `answer`, in either case.

    Args:
        path: the file, in UTF-8.

    Raises:
        SpecError: it cannot be read, a line is something else, or an image is not there.
    """

    def __init__(self, path: Path) -> None:
        """See the class."""
        text = read_text(path, f"the question file '{path}'", MAX_BYTES)
        self._images: dict[str, list[base.Question]] = {}
        self._folder = path.parent
        lines = re.split("\r\n|\r|\n", text.removeprefix("\ufeff"))  # JSON may hold what else ends a line of text
        for number, line in enumerate(lines, 1):
            if line.strip():
                image, question = _question(line, f"line {number} of '{path}'")
                if image not in self._images and not os.path.isfile(self._folder / image):  # noqa: PTH113 (Path raises where a name is too long)
                    raise SpecError(f"line {number} of '{path}': there is no image '{self._folder / image}'")
                self._images.setdefault(image, []).append(question)
        if not self._images:
            raise SpecError(f"'{path}' holds no questions; a line is a JSON object with {', '.join(KEYS)}")

    def examples(self, limit: int | None) -> Iterator[base.Example]:
        """Yield the images, in the order in which they are first asked about.

        Args:
            limit: stop after so many images, at least 1; None yields all.

        Raises:
            SpecError: the limit is below 1.
        """
        for image, questions in base.limited(self._images.items(), limit):
            yield base.Example(image, partial(read_image, self._folder / image), tuple(questions))

    def missing(self) -> str | None:
        """None: a file needs no library."""
        return None

    def is_right(self, answered: base.Answered) -> bool:
        """Whether the answer begins with the words that were wanted."""
        return begins_with(answered.text, answered.question.answer)

    def score(self, asked: Sequence[base.Answered]) -> dict[str, float]:
        """The share of right answers, and that of each kind where there are several."""
        groups: dict[str, list[bool]] = {"accuracy": []}
        for answered in asked:
            for name in ("accuracy", answered.question.kind):
                groups.setdefault(name, []).append(self.is_right(answered))
        shares = {name: sum(values) / len(values) for name, values in groups.items() if values}
        return shares if len(shares) > 2 else {"accuracy": shares["accuracy"]} if shares else {}


def _question(line: str, where: str) -> tuple[str, base.Question]:
    entry: Any = parse_json(line, where)
    if not isinstance(entry, dict) or set(entry) - {*KEYS, "kind"} or set(KEYS) - set(entry):
        raise SpecError(f"{where} must be an object with {', '.join(KEYS)}, and a kind if you like")
    for key, value in entry.items():
        if not isinstance(value, str) or not value.strip() or "\0" in value:
            raise SpecError(f"{where}: {key} must be a text that is not empty")
    if not re.search(r"\w", entry["answer"]):
        raise SpecError(f"{where}: answer must have a word, by which answers are judged")
    kind = entry.get("kind", KIND)
    if kind == "accuracy":
        raise SpecError(f"{where}: a kind may not be called 'accuracy', which is the name of the whole")
    return entry["image"], base.Question(kind, entry["prompt"], entry["answer"])
