"""Work that can be interrupted: one JSON line a batch, in a file beside the record that is being made."""

import contextlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from vtp_export.errors import ArtefactError, SpecError, first_line, shown
from vtp_export.json_records import decode, json_lines

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Item = TypeVar("Item", bound="DataclassInstance")


class Journal(Generic[Item]):
    """Lines that survive a kill.

    A line that was cut short, by a kill or a full disk, is dropped, and with it the whole batch: resumed work sees the
    same batches as work that was never interrupted, and so gives the same numbers to the last digit.

    Args:
        out: where the record will be; the journal is `.NAME.partial` beside it.
        head: what must be the same when the work is taken up again.
        resume: go on from a journal that is there.
        kind: the dataclass of what is written down, of which a batch is a list.

    Raises:
        ArtefactError: a journal is there and `resume` is not set, or it was begun for something else, or the folder
            cannot be written.
    """

    def __init__(self, out: Path, head: dict[str, Any], resume: bool, kind: type[Item]) -> None:
        self.path = out.with_name(f".{out.name}.partial")
        self.done: list[Item] = []
        self.keep = False
        self._batch: Any = tuple[kind, ...]  # type: ignore[valid-type]
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if not (self.path.exists() and self._taken_up(head, resume)):
                self.path.write_text(json.dumps(head) + "\n", encoding="utf-8")
            self._file = self.path.open("a", encoding="utf-8")
        except OSError as error:
            raise self._unwritable(error) from error

    def _taken_up(self, head: dict[str, Any], resume: bool) -> bool:
        """Whether there is anything to go on from; not where even the head was cut short."""
        first, end = None, 0
        try:
            for number, (value, behind) in enumerate(json_lines(self.path), 1):
                if number == 1 and not resume:
                    raise ArtefactError(
                        f"interrupted work is there ('{self.path}'): add --resume to go on, or remove that file"
                    )
                if number == 1:
                    first = value
                else:
                    self.done += decode(self._batch, value, f"line {number}")
                end = behind
        except SpecError as error:
            raise ArtefactError(f"'{self.path}' is damaged ({first_line(error)}); remove it and start again") from error
        if not end:
            return False
        if first != head:
            was, now = (shown(one) for one in _differing(first, head))
            raise ArtefactError(f"'{self.path}' was begun for {was}, not for {now}; remove it and start again")
        os.truncate(self.path, end)
        return True

    def add(self, batch: Sequence[Item]) -> None:
        """Put what a batch gave down, at once.

        Raises:
            ArtefactError: it cannot be written.
        """
        try:
            self._file.write(json.dumps([asdict(item) for item in batch]) + "\n")
            self._file.flush()
        except OSError as error:
            raise self._unwritable(error) from error
        self.done += batch

    def close(self, finished: bool) -> None:
        """Stop; the file goes when the record has been written, unless it is to be kept."""
        with contextlib.suppress(OSError):  # what is left in the buffer has been told of by `add`
            self._file.close()
        if finished and not self.keep:
            self.path.unlink(missing_ok=True)

    def _unwritable(self, error: OSError) -> ArtefactError:
        return ArtefactError(f"cannot write '{self.path}': {error.strerror or error}")


def _differing(first: Any, second: dict[str, Any]) -> tuple[Any, Any]:
    """Two records, without what they have in common."""
    if not isinstance(first, dict) or first.keys() != second.keys():
        return first, second
    keys = [key for key in second if first[key] != second[key]]
    return {key: first[key] for key in keys}, {key: second[key] for key in keys}
