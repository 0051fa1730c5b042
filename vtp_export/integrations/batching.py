"""Which questions a language model answers together: those that need no padding beside one another."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vtp_export.errors import ModelError, SpecError
from vtp_export.parity.asking import Prompt
from vtp_export.runtime.images import batched
from vtp_export.runtime.packing import Picture

if TYPE_CHECKING:
    from torch import Tensor

ONE_VIEW_OF_SEVERAL = frozenset({"llava_onevision"})
"""Families that cut an image into tiles only where it is the only one of its prompt."""


@dataclass(frozen=True, kw_only=True)
class Tokenised:
    """A prompt in token ids: before each run of visual tokens, and after the last."""

    before: tuple[tuple[int, ...], ...]
    pictures: tuple[Picture, ...]
    after: tuple[int, ...]
    longest: int

    @property
    def prefix(self) -> object:
        """What is the same of prompts that share a cache."""
        return self.before, tuple(map(id, self.pictures))

    @property
    def shape(self) -> object:
        """What is the same of prefixes that make rows of one cache."""
        if any(picture.position_ids is not None for picture in self.pictures):
            return self.prefix
        return tuple(map(len, self.before)), tuple(runs_of(self.pictures))


@dataclass(frozen=True)
class Step:
    """What the language model reads next: (b, m, d), behind a cache, at (axes, m) places where it does not count."""

    embeds: "Tensor"
    cache: Any
    places: np.ndarray | None


def runs_of(pictures: Sequence[Picture]) -> list[int]:
    """Lengths of all runs of visual tokens, in the order of the prompt."""
    return [run for picture in pictures for run in picture.runs]


def alike_in(asked: Sequence[Tokenised]) -> list[list[list[int]]]:
    """Numbers of the questions: those of one prefix together, and with them the other prefixes of its shape."""
    shapes: dict[object, dict[object, list[int]]] = {}
    for number, one in enumerate(asked):
        shapes.setdefault(one.shape, {}).setdefault(one.prefix, []).append(number)
    return [list(prefixes.values()) for prefixes in shapes.values()]


def groups_of(cache: Any, asked: Mapping[int, Tokenised], batch: int) -> Iterator[list[int]]:
    """Questions that are answered together: those whose rest is of one length, and whose answer may be as long.

    A cache of linear attention serves one.
    """
    if not all(hasattr(layer, "batch_select_indices") for layer in getattr(cache, "layers", ())):
        batch = 1
    kinds = sorted({(len(one.after), one.longest) for one in asked.values()})
    for kind in kinds:
        yield from batched([i for i, one in asked.items() if (len(one.after), one.longest) == kind], batch)


def refuse_unreadable(prompt: Prompt, family: str) -> None:
    """See that the language model of a family reads such a prompt as it does in Transformers.

    Raises:
        SpecError: there is no image.
        ModelError: it would see several images otherwise than one.
    """
    if not prompt.pictures:
        raise SpecError("no pictures were given; a question is about one or more")
    if len(prompt.pictures) > 1 and family in ONE_VIEW_OF_SEVERAL:
        raise ModelError(
            f"{family} sees several images of one prompt without tiles, which is not there; ask about one image at a "
            "time"
        )
