"""Blocks that were measured, whoever measures them, become a record: written down one by one, counted, told of."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from vtp_export.calibration.columns import Block, Columns, columns_of
from vtp_export.calibration.journal import Journal
from vtp_export.calibration.measuring import blocks_of
from vtp_export.calibration.records import Origin, record_of, write_record
from vtp_export.calibrations import Broken, CalibrationRecord, Selection
from vtp_export.errors import ImageError
from vtp_export.progress import Progress

Measure = Callable[[Sequence[int]], Iterable[Block]]
"""Numbers of blocks to what they gave, in any order."""


def run(
    origin: Origin, measure: Measure, out: Path, max_broken: float, resume: bool, progress: Progress
) -> tuple[CalibrationRecord, Columns]:
    """Measure what is not measured yet, and write the record.

    Args:
        origin: what is measured.
        measure: does it.
        out: the record; the journal lies beside it meanwhile.
        max_broken: share of all pictures of the data set that may be broken.
        resume: go on from a journal.
        progress: hears of every block.

    Raises:
        ImageError: too many pictures are broken, or all are.
        VtpError: the journal or the record cannot be written.
    """
    journal = Journal(out, origin.head(), resume, Block)
    finished, done = False, {block.number for block in journal.done}
    try:
        rest = [number for number in blocks_of(origin.selection, origin.batch, origin.shard) if number not in done]
        broken = _broken(journal.done)
        for block in _told(measure(rest), journal.done, origin, progress):
            journal.add([block])
            broken += block.broken
            refuse_broken(len(broken), broken, origin.selection, max_broken)
        columns = columns_of(origin.measures, journal.done)
        if not len(columns):
            raise ImageError(f"none of the {len(broken)} images of '{origin.data}' can be read: {broken[0].reason}")
        record = record_of(origin, columns, len(broken), broken)
        write_record(out, record, columns)
        finished = True
    finally:
        measured = any(block.rows for block in journal.done)
        if measured and not finished:
            progress(f"{_count(journal.done)} images are measured; --resume goes on from there")
        # Nothing measured: nothing worth resuming.
        journal.close(finished or not measured)
    return record, columns


def refuse_broken(count: int, listed: Sequence[Broken], selection: Selection, most: float) -> None:
    """See that not too many pictures are broken.

    Raises:
        ImageError: they are.
    """
    if count > most * len(selection):
        named = "; ".join(one.reason for one in listed[:3])
        raise ImageError(
            f"{count} of {len(selection)} images cannot be read, more than {most:.3g} of them (--max-broken): "
            f"{named}{'; ...' if count > 3 else ''}"
        )


def _told(blocks: Iterable[Block], before: Sequence[Block], origin: Origin, progress: Progress) -> Iterator[Block]:
    """The blocks, with progress in pictures."""
    mine = blocks_of(origin.selection, origin.batch, origin.shard)
    total = min(mine.stop * origin.batch, len(origin.selection)) - mine.start * origin.batch
    done = _count(before)
    progress("measuring", done, total)
    for block in blocks:
        yield block
        done += _count([block])
        progress("measuring", done, total)


def _count(blocks: Iterable[Block]) -> int:
    """Pictures, the broken ones among them."""
    return sum(len({row.position for row in block.rows}) + len(block.broken) for block in blocks)


def _broken(blocks: Iterable[Block]) -> list[Broken]:
    return [one for block in blocks for one in block.broken]
