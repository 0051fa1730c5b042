"""Greedy answers of any runtime that reads embeddings, without torch."""

import time
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from vtp_export.benchmarks.base import Decoded
from vtp_export.errors import ModelError
from vtp_export.inllm.base import Method
from vtp_export.integrations.batching import Tokenised, runs_of
from vtp_export.integrations.words import Words
from vtp_export.parity.asking import BATCH, LONGEST, Prompt
from vtp_export.runtime.packing import Picture
from vtp_export.runtime.positions import prompt_places

Part = Sequence[int] | np.ndarray
"""Token ids, or (m, d) embeddings."""


class Reader(Protocol):
    """A language model that reads one sequence at a time."""

    def begin(self, parts: Sequence[Part], places: np.ndarray | None) -> np.ndarray:
        """Read a prompt from the start, and give the (words,) logits of what follows.

        Args:
            parts: one after the other.
            places: (axes, m) positions of all tokens; None where they are counted.
        """
        ...

    def read(self, token: int, place: int | None) -> np.ndarray:
        """Read one more token, which stands at `place`, and give the logits of what follows."""
        ...


class GreedyAnswerer:
    """Answers as `integrations.transformers.Answerer` does, one question at a time.

    Args:
        reader: the language model.
        words: its tokenizer and wording.
    """

    def __init__(self, reader: Reader, words: Words) -> None:
        """See the class."""
        self._reader, self._words = reader, words
        self.waits: list[float] = []
        """Milliseconds from a prompt, its pictures' tokens at hand, to the first token: of every question so far."""

    runtime = "another runtime"
    """As people call it."""

    @property
    def layers(self) -> int:
        """Of the language model."""
        return self._words.wording.layers

    def answer(self, picture: Picture, prompts: Sequence[str], longest: int = LONGEST) -> list[Decoded]:
        """Answer questions about one image."""
        return self.answer_each([Prompt((picture,), prompt, longest) for prompt in prompts])

    def answer_each(self, prompts: Sequence[Prompt], batch: int = BATCH, within: Method | None = None) -> list[Decoded]:
        """Answer questions, each about an image of its own.

        Args:
            prompts: the questions.
            batch: of no use here.
            within: refused; there is no reaching into this language model.

        Raises:
            ModelError: of a prompt, see `Words.split`; or the tokens are not what this language model reads.
        """
        if within is not None:
            raise ModelError("pruning inside the language model needs Transformers, and it is run by another runtime")
        return [self._answer(self._words.split(prompt)) for prompt in prompts]

    def _answer(self, asked: Tokenised) -> Decoded:
        (picture,) = asked.pictures
        self._refuse(picture)
        started = time.perf_counter()
        visual = np.split(picture.tokens.astype(np.float32), np.cumsum(runs_of(asked.pictures))[:-1])
        parts: list[Part] = [part for pair in zip(asked.before, visual, strict=True) for part in pair]
        placed = prompt_places([len(ids) for ids in asked.before], asked.pictures, len(asked.after))
        places, start = (None, None) if placed is None else placed
        logits = self._reader.begin([*parts, asked.after], places)
        self.waits.append(1000 * (time.perf_counter() - started))
        ids, gaps = list[int](), list[float]()
        for number in range(asked.longest):
            if not np.isfinite(logits).all():
                raise ModelError(
                    f"the language model of '{self._words.wording.model}' gives logits that are not finite"
                )
            second, best = np.partition(logits, -2)[-2:]
            gaps.append(float(best - second))
            if (chosen := int(logits.argmax())) in self._words.wording.ends:
                break
            ids.append(chosen)
            if number + 1 < asked.longest:
                logits = self._reader.read(chosen, None if start is None else start + number)
        return Decoded(tuple(ids), self._words.text(ids), tuple(gaps))

    def _refuse(self, picture: Picture) -> None:
        own = self._words.wording
        if picture.tokens.shape[1] != own.width:
            raise ModelError(
                f"the tokens have {picture.tokens.shape[1]} channels, and the language model of '{own.model}' reads "
                f"{own.width}"
            )
        if picture.deepstack is not None:
            raise ModelError("planes of deepstack go into the language model's layers, which this runtime cannot do")
        if (picture.position_ids is None) != (own.axes == 1):
            raise ModelError(f"'{own.model}' places tokens on {own.axes} axes, and these were placed otherwise")
