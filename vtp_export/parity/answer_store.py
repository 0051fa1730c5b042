"""Answers that were given before, so that what is interrupted goes on, and a second run asks only what is new.

One file a method: its first line says all that decides an answer (weights, settings, versions, the code of this
package), and gives the file its name; then one line a picture. A picture is known by its pixels and a question by its
words, so that the same ones are found again whatever benchmark asks them, and whatever else is asked.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import PIL.Image

from vtp_export.benchmarks.base import Decoded
from vtp_export.errors import ArtefactError, SpecError, first_line
from vtp_export.json_records import decode, json_lines

PACKAGE = Path(__file__).parents[1]


@dataclass(frozen=True, kw_only=True)
class Line:
    """What was said about one picture.

    picture: see `picture_key`. answers: by `question_key`. measures: of the picture, by name.
    """

    picture: str
    answers: dict[str, Decoded]
    measures: dict[str, float]


class AnswerStore:
    """The answers of one method.

    Args:
        folder: where files of answers are; None keeps them in memory alone.
        head: what decides an answer. Answers of another head are never seen.

    Raises:
        ArtefactError: the folder cannot be written, or a file in it is damaged.
    """

    def __init__(self, folder: Path | None, head: Mapping[str, Any]) -> None:
        """See the class."""
        self._lines: dict[str, Line] = {}
        self._path: Path | None = None
        if folder is None:
            return
        first = json.dumps(head, sort_keys=True)
        self._path = folder / f"{hashlib.sha256(first.encode()).hexdigest()[:16]}.jsonl"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if not self._path.exists() or not self._read():
                self._path.write_text(f"{first}\n", encoding="utf-8")
        except OSError as error:
            raise self._unwritable(error) from error

    def _read(self) -> bool:
        """Take up what is there; a last line that a kill cut short is dropped. False if not even the head is whole."""
        assert self._path is not None
        end = 0
        try:
            for number, (value, behind) in enumerate(json_lines(self._path), 1):
                if number > 1:
                    self._merge(decode(Line, value, f"line {number}"))
                end = behind
        except SpecError as error:
            raise ArtefactError(f"'{self._path}' is damaged ({first_line(error)}); remove it") from error
        if end:
            os.truncate(self._path, end)
        return bool(end)

    def find(self, picture: str) -> Line | None:
        """What is known of a picture."""
        return self._lines.get(picture)

    def knows(self, picture: str, questions: Sequence[str]) -> bool:
        """Whether all of these questions about a picture are answered."""
        line = self.find(picture)
        return line is not None and all(question in line.answers for question in questions)

    def add(self, lines: Sequence[Line]) -> None:
        """Put answers down, all at once.

        Raises:
            ArtefactError: they cannot be written.
        """
        if self._path is not None and lines:
            try:
                with self._path.open("a", encoding="utf-8") as file:
                    file.write("".join(json.dumps(asdict(line)) + "\n" for line in lines))
            except OSError as error:
                raise self._unwritable(error) from error
        for line in lines:
            self._merge(line)

    def _merge(self, line: Line) -> None:
        known = self._lines.get(line.picture)
        if known is not None:
            answers, measures = {**known.answers, **line.answers}, {**known.measures, **line.measures}
            line = Line(picture=line.picture, answers=answers, measures=measures)
        self._lines[line.picture] = line

    def _unwritable(self, error: OSError) -> ArtefactError:
        return ArtefactError(f"answers cannot be kept in '{self._path}': {error.strerror or error}")


def picture_key(photo: PIL.Image.Image) -> str:
    """SHA-256 of a picture's mode, size and pixels."""
    digest = hashlib.sha256(f"{photo.mode} {photo.size}\n".encode())
    digest.update(photo.tobytes())
    return digest.hexdigest()


def question_key(prompt: str, longest: int) -> str:
    """What tells a question from others about the same picture: its words, and how long its answer may be."""
    return hashlib.sha256(f"{longest}\n{prompt}".encode()).hexdigest()[:16]


@lru_cache(maxsize=1)
def code_digest() -> str:
    """SHA-256 of this package's code: an answer of other code is not taken for one of this."""
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        digest.update(f"{path.relative_to(PACKAGE)}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()
