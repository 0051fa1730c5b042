"""Which questions a language model answers together: those that need no padding beside one another."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vtp_export.runtime.images import batched
from vtp_export.runtime.packing import Picture


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
