"""The work of a calibration on a part of a data set: the same in one process, in shards and on a cluster."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

import numpy as np

from vtp_export.calibration.ahead import decoded_ahead
from vtp_export.calibration.columns import Block, Row
from vtp_export.calibration.decoding import Decoder, Picture, View, Work
from vtp_export.calibrations import Selection
from vtp_export.runtime.images import batched
from vtp_export.runtime.output import naming
from vtp_export.runtime.preprocess import values_of


class Engine(Protocol):
    """What measures images. name: "eager" or a format. measures: some of `calibrations.MEASURES`."""

    @property
    def name(self) -> str: ...

    @property
    def measures(self) -> tuple[str, ...]: ...

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Images (b, 3, h, w) float32 to (b, measures) float64, all finite."""
        ...


class Pictures(Protocol):
    """A data set, of which a few pictures are in memory at a time, still encoded."""

    def __len__(self) -> int:
        """How many."""
        ...

    def at(self, positions: Iterable[int]) -> Iterator[Picture]:
        """Those that stand at ascending positions."""
        ...


def block_count(selection: Selection, batch: int) -> int:
    """How many blocks there are of so many pictures."""
    return -(-len(selection) // batch)


def blocks_of(selection: Selection, batch: int, shard: tuple[int, int] | None = None) -> range:
    """Numbers of the blocks of a shard, which are neighbours; of all where there is none.

    Example:
        >>> blocks_of(Selection(total=39), 4, (2, 3))
        range(3, 6)
    """
    count, (number, shards) = block_count(selection, batch), shard or (1, 1)
    return range((number - 1) * count // shards, number * count // shards)


def works_of(pictures: Pictures, selection: Selection, batch: int, blocks: Sequence[int]) -> Iterator[Work]:
    """The work of ascending blocks. A block holds the same pictures however the work is shared out."""
    runs = [(b, range(b * batch, min((b + 1) * batch, len(selection)))) for b in blocks]
    found = pictures.at(selection.position(number) for _, run in runs for number in run)
    for block, run in runs:
        yield Work(block, tuple((selection.position(number), next(found)) for number in run))


def measured(engine: Engine, works: Iterable[Work], decoder: Decoder, batch: int, workers: int = 0) -> Iterator[Block]:
    """What the views of each block gave.

    Args:
        engine: measures views, at most `batch` at a time.
        works: see `works_of`.
        decoder: makes views of pictures.
        batch: pictures of a block, and views of a run.
        workers: processes that decode; 0 for a thread.

    Raises:
        OutputError: what came out of an image is not finite.
        UnavailableError: no process can be started.
    """
    for ready in decoded_ahead(works, decoder, workers):
        rows: list[Row] = []
        # Pictures as they are run together, so that their numbers are the same with and without variants.
        for _, views in itertools.groupby(sorted(ready.views, key=_variant), _variant):
            for few in batched(views, batch):
                rows += _rows(engine, few, decoder)
        yield Block(number=ready.number, rows=tuple(rows), broken=ready.broken)


def _variant(view: View) -> int:
    return view.variant


def _rows(engine: Engine, views: Sequence[View], decoder: Decoder) -> list[Row]:
    pixels = values_of(np.stack([view.pixels for view in views]), decoder.preprocessing)
    with naming([view.name for view in views]):
        numbers = engine(pixels)
    return [
        Row(
            position=view.position,
            name=view.name,
            view=view.view,
            variant=view.variant,
            digest=view.digest,
            numbers=tuple(map(float, line)),
        )
        for view, line in zip(views, numbers, strict=True)
    ]
