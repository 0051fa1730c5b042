"""Work that can be interrupted: one JSON line a picture, in a file beside the record that is being made."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vtp_export.errors import ArtefactError


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What one picture gave. `digest`: SHA-256 of its pixel values."""

    name: str
    digest: str
    erank: float
    erank_uncentred: float
    attention_entropy: float


class Journal:
    """Lines that survive a kill.

    Args:
        out: where the record will be; the journal is `.NAME.partial` beside it.
        head: what must be the same when the work is taken up again.
        resume: go on from a journal that is there.

    Raises:
        ArtefactError: a journal is there and `resume` is not set, or it was begun for something else, or the folder
            cannot be written.
    """

    def __init__(self, out: Path, head: dict[str, Any], resume: bool) -> None:
        self.path = out.with_name(f".{out.name}.partial")
        self.done: list[Measured] = []
        try:
            if self.path.exists():
                self._take_up(head, resume)
            else:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self.path.write_text(json.dumps(head) + "\n", encoding="utf-8")
            self._file = self.path.open("a", encoding="utf-8")
        except OSError as error:
            raise ArtefactError(f"cannot write '{self.path}': {error.strerror or error}") from error

    def _take_up(self, head: dict[str, Any], resume: bool) -> None:
        if not resume:
            raise ArtefactError(
                f"an interrupted calibration is there ('{self.path}'): add --resume to go on, or remove that file"
            )
        whole, _, torn = self.path.read_text(encoding="utf-8").rpartition("\n")
        first, *rest = whole.split("\n")
        try:
            found = json.loads(first)
            self.done = [Measured(**json.loads(line)) for line in rest]
        except (ValueError, TypeError) as error:
            raise ArtefactError(f"'{self.path}' is damaged ({error}); remove it and start again") from error
        if found != head:
            raise ArtefactError(f"'{self.path}' was begun for {found}, not for {head}; remove it and start again")
        if torn:  # a line cut short by the kill
            self.path.write_text(whole + "\n", encoding="utf-8")

    def add(self, measured: Measured) -> None:
        """Put one picture down, at once."""
        self._file.write(json.dumps(asdict(measured)) + "\n")
        self._file.flush()
        self.done.append(measured)

    def close(self, finished: bool) -> None:
        """Stop; the file goes when the record has been written."""
        self._file.close()
        if finished:
            self.path.unlink(missing_ok=True)
