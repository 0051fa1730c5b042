"""What a front end returns: arrays by name for a batch of views, and the result of one of them."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from vtp_export.errors import ArtefactError, OutputError


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What came out for one view, empty slots cut off.

    kept: (m,) int64 candidate positions; -1 for a token that belongs to none, such as CLS.
    tokens: (m, d) what the language model reads, float32 or float16, see `Output`.
    erank, attention_entropy: of the view, None where the pruner does not measure it.
    position_ids: (3, m) int64 time, row and column of each token, counted from the picture's start; -1 for one that
        belongs to no candidate. None where the language model counts tokens alone.
    deepstack: (m, planes * d) as `tokens`: what the language model adds to each token in its first layers, layer by
        layer side by side. None where it adds nothing.
    """

    kept: np.ndarray
    tokens: np.ndarray
    erank: float | None = None
    attention_entropy: float | None = None
    position_ids: np.ndarray | None = None
    deepstack: np.ndarray | None = None

    @property
    def num_kept(self) -> int:
        """How many tokens."""
        return len(self.kept)

    @property
    def complexity(self) -> float | None:
        """Effective rank or attention entropy, whichever was measured."""
        return self.attention_entropy if self.erank is None else self.erank


@dataclass(frozen=True, kw_only=True)
class Output:
    """What came out for a batch; `output[i]` is the result of one view, without empty slots.

    tokens: (b, k, d) float32, or float16 where the manifest's outputs say so: in fp16, if they fit; zeros past
        `num_kept`.
    kept: (b, k) int64 candidate positions, -1 past `num_kept`.
    num_kept: (b,) int64.
    erank, attention_entropy: (b,) float32, or None when the pruner does not measure it.
    position_ids: (b, 3, k) int64, or None where the language model counts tokens alone; see `Kept`.
    deepstack: (b, k, planes * d) as `tokens`, or None where the language model adds nothing; see `Kept`.
    """

    tokens: np.ndarray
    kept: np.ndarray
    num_kept: np.ndarray
    erank: np.ndarray | None = None
    attention_entropy: np.ndarray | None = None
    position_ids: np.ndarray | None = None
    deepstack: np.ndarray | None = None

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray]) -> "Output":
        """The record of what a session returned.

        Raises:
            ArtefactError: an output that this version does not know, or one that is missing.
        """
        known = [field.name for field in dataclasses.fields(cls)]
        needed = [field.name for field in dataclasses.fields(cls) if field.default is dataclasses.MISSING]
        if unknown := [name for name in arrays if name not in known]:
            raise ArtefactError(
                f"the output '{unknown[0]}' is not known here; known are: {', '.join(known)}; use the version that "
                "exported it"
            )
        if missing := [name for name in needed if name not in arrays]:
            raise ArtefactError(f"the output '{missing[0]}' is missing; there are: {', '.join(arrays) or 'none'}")
        return cls(**arrays)

    @classmethod
    def joined(cls, outputs: Sequence["Output"]) -> "Output":
        """One batch out of several of the same front end."""
        names = outputs[0].arrays()
        return cls(**{name: np.concatenate([output.arrays()[name] for output in outputs]) for name in names})

    def arrays(self) -> dict[str, np.ndarray]:
        """What there is, by name."""
        return {name: array for name, array in vars(self).items() if array is not None}

    def mapped(self, change: Callable[[np.ndarray], np.ndarray]) -> "Output":
        """The same with `change` applied to every array."""
        return Output(**{name: change(array) for name, array in self.arrays().items()})

    def split(self) -> list["Output"]:
        """One for each view."""
        return [self.mapped(lambda array, i=i: array[i : i + 1]) for i in range(len(self))]  # type: ignore[misc]

    def __len__(self) -> int:
        """How many views."""
        return len(self.kept)

    def __getitem__(self, view: int) -> Kept:
        """The result of one view."""
        count = int(self.num_kept[view])
        return Kept(
            kept=self.kept[view, :count],
            tokens=self.tokens[view, :count],
            erank=None if self.erank is None else float(self.erank[view]),
            attention_entropy=None if self.attention_entropy is None else float(self.attention_entropy[view]),
            position_ids=None if self.position_ids is None else self.position_ids[view, :, :count],
            deepstack=None if self.deepstack is None else self.deepstack[view, :count],
        )

    def __iter__(self) -> Iterator[Kept]:
        """The results of the views, in order."""
        return (self[view] for view in range(len(self)))


@contextmanager
def naming(images: Sequence[str]) -> Iterator[None]:
    """An `OutputError` of the batch that is run inside names the image as the user knows it.

    Args:
        images: names of all images of the batch.
    """
    try:
        yield
    except OutputError as error:
        raise error.named(images) from error


Run = Callable[[np.ndarray], Output]
"""Whatever turns pixels (b, 3, h, w) into an output: an open artefact's `run`, or an eager session."""
