"""Pictures are decoded ahead, in order and not too far; a process that dies loses nothing."""

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from vtp_export.calibration.ahead import decoded_ahead
from vtp_export.calibration.decoding import Decoded, Work
from vtp_export.errors import UnavailableError, VtpWarning
from vtp_export.runtime.images import note


@dataclass(frozen=True)
class Named:
    name: str
    open: None = None


def works(count):
    return [
        Work(number, ((2 * number, Named(f"{number}a")), (2 * number + 1, Named(f"{number}b"))))
        for number in range(count)
    ]


@dataclass(frozen=True)
class Dying:
    """Tells the names that it was given; its process ends over some of them, once or every time."""

    folder: Path
    always: str = ""
    once: str = ""

    def __call__(self, work):
        names = [picture.name for _, picture in work.pictures]
        marked = self.folder / "died"
        if self.once in names and not marked.exists():
            marked.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if self.always in names:
            os.kill(os.getpid(), signal.SIGKILL)
        note(f"saw {names[0]}")
        return Decoded(work.number, tuple(names), ())


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.filterwarnings("ignore:saw")
def test_work_comes_back_in_its_order_and_is_not_read_too_far_ahead(workers, tmp_path):
    asked = []
    found = decoded_ahead((asked.append(work.number) or work for work in works(12)), Dying(tmp_path), workers)
    first = next(found)
    assert first.number == 0 and len(asked) <= 2 * workers + 2
    rest = list(found)
    assert [one.number for one in rest] == list(range(1, 12))
    assert [name for one in (first, *rest) for name in one.views] == [f"{i}{x}" for i in range(12) for x in "ab"]


@pytest.mark.filterwarnings("ignore:saw")
def test_a_process_that_is_killed_loses_nothing(tmp_path):
    found = list(decoded_ahead(works(8), Dying(tmp_path, once="3b"), 2))
    assert (tmp_path / "died").exists()
    assert [name for one in found for name in one.views] == [f"{i}{x}" for i in range(8) for x in "ab"]
    assert not [one for work in found for one in work.broken]


@pytest.mark.whole
@pytest.mark.filterwarnings("ignore:saw")
def test_a_picture_that_ends_every_process_is_broken_and_no_other(tmp_path):
    found = list(decoded_ahead(works(5), Dying(tmp_path, always="2b"), 1))
    assert [name for one in found for name in one.views] == [
        f"{i}{x}" for i in range(5) for x in "ab" if (i, x) != (2, "b")
    ]
    (broken,) = [one for work in found for one in work.broken]
    assert (broken.position, broken.name) == (5, "2b") and "ended the process that decoded it" in broken.reason


def test_notes_of_other_processes_are_told(tmp_path):
    with pytest.warns(VtpWarning, match="saw 0a"):
        list(decoded_ahead(works(1), Dying(tmp_path), 1))


def test_an_error_of_this_package_is_raised_as_it_is(tmp_path):
    with pytest.raises(ZeroDivisionError):
        list(decoded_ahead(works(3), lambda work: 1 // 0, 0))


def test_processes_that_cannot_start_are_one_sentence(monkeypatch, tmp_path):
    monkeypatch.setattr("vtp_export.calibration.ahead._serving", _die)
    with pytest.raises(UnavailableError, match="end as they start: in a script, call calibrate below"):
        list(decoded_ahead(works(2), Dying(tmp_path), 1))


ORPHANS = """
import sys
from pathlib import Path
from tests.calibration.test_ahead import Dying, works
from vtp_export.calibration.ahead import decoded_ahead
import multiprocessing, os, signal
found = decoded_ahead(works(50), Dying(Path(sys.argv[1])), 2)
next(found)
print(*(child.pid for child in multiprocessing.active_children()), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_processes_end_with_the_one_that_is_killed(tmp_path):
    """They would wait for work for ever."""
    command = [sys.executable, "-W", "ignore", "-c", ORPHANS, str(tmp_path)]
    killed = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, timeout=120)
    assert killed.returncode == -signal.SIGKILL
    children = [int(word) for word in killed.stdout.split()]
    assert len(children) == 2
    _, alive = psutil.wait_procs([psutil.Process(pid) for pid in children if psutil.pid_exists(pid)], timeout=20)
    assert not alive


def _die():
    os.kill(os.getpid(), signal.SIGKILL)
