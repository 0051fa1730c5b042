"""Journals: what was written down survives a kill, and what is damaged is told."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

from vtp_export.calibration.journal import Journal
from vtp_export.errors import ArtefactError


@dataclass(frozen=True)
class Item:
    name: str
    number: float


def test_a_full_disk_is_told_and_loses_no_batch(tmp_path):
    one = Item("a", 1.0)
    journal = Journal(tmp_path / "record.json", {"model": "m"}, resume=False, kind=Item)
    journal.add([one])
    with Path("/dev/full").open("w") as full:
        file, journal._file = journal._file, full
        with pytest.raises(ArtefactError, match=r"cannot write '.*\.record\.json\.partial': No space left on device"):
            journal.add([one, one])
        journal.close(finished=False)
    file.close()
    resumed = Journal(tmp_path / "record.json", {"model": "m"}, resume=True, kind=Item)
    assert resumed.done == [one]
    resumed.close(finished=True)


STRANGE_LINES = [
    "not json",
    "{}",
    "[7]",
    '[{"name": "a"}]',
    "[" * 10_000,
    '[{"name": "\\ud800"}]',
    "null",
    '"' + "x" * 99_999,
]


@pytest.mark.parametrize("line", [*STRANGE_LINES, None], ids=range(len(STRANGE_LINES) + 1))
def test_a_damaged_journal_is_one_sentence(tmp_path, line):
    if line is None:
        line = json.dumps([asdict(Item("a", float("nan")))])
    path = tmp_path / ".record.json.partial"
    path.write_text('{"model": "m"}\n' + line + "\n[]\n")
    with pytest.raises(ArtefactError, match=r"is damaged \(line 2.*\); remove it and start again$") as caught:
        Journal(tmp_path / "record.json", {"model": "m"}, resume=True, kind=Item)
    assert len(str(caught.value)) < 400
