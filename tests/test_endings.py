"""The program as the system meets it: streams that are closed or full, interruptions at any time."""

import json
import os
import subprocess
import sys

import pytest

from vtp_export import terminal


def program(command, *words, before="pass"):
    """Run `python -m vtp_export` in a shell, whose redirections are those of a user; returns code, output, errors."""
    code = f"import sys; sys.argv[0] = 'vtp-export'; {before}; import vtp_export.__main__ as m; m.main()"
    shell = ["sh", "-c", command.replace("vtp", '"$0" -c "$@"'), sys.executable, code, *map(str, words)]
    result = subprocess.run(shell, capture_output=True, text=True)
    return result.returncode, result.stdout, result.stderr


@pytest.mark.parametrize(
    ("redirection", "reason"), [(">&-", "Bad file descriptor"), ("> /dev/full", "No space left on device")]
)
@pytest.mark.parametrize("words", [["list", "models"], ["--version"], ["list", "models", "--json"]])
def test_output_that_cannot_be_written_is_told_in_a_sentence(words, redirection, reason):
    code, _, err = program(f"vtp {redirection}", *words)
    assert (code, err.count("\n")) == (2, 1)
    assert err.startswith("error: ") and reason in err


@pytest.mark.parametrize("redirection", ["2>&-", "2> /dev/full", "<&- 2>&-"])
def test_progress_goes_to_standard_error_or_nowhere(redirection):
    before = """
from vtp_export.pipeline import list as listing
def noisy(room):
    import os, warnings
    from vtp_export.errors import VtpWarning
    warnings.warn('a note', VtpWarning)
    assert os.open(os.devnull, os.O_WRONLY) > 2
    return [('a name', 'and a summary')]
listing.catalogue = noisy
"""
    code, out, _ = program(f"vtp {redirection}", "list", "models", "--json", before=f"exec({before!r})")
    assert (code, json.loads(out)["models"]) == (0, [{"name": "a name", "summary": "and a summary"}])


def test_a_mistake_has_its_exit_code_whatever_is_closed():
    for redirection in ("> /dev/full", ">&- 2>&-", "> /dev/full 2> /dev/full"):
        assert program(f"vtp {redirection}", "inspect", "nowhere", "--json")[0] == 2, redirection


WHILE_IMPORTING = """
import os, signal, sys
class Finder:
    def find_spec(self, name, *more):
        if name == 'vtp_export.cli':
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder())
"""

WHILE_WRITING = """
import os, signal
from pathlib import Path
from vtp_export.pipeline import inspect
from vtp_export.runtime.writing import atomically
def write(folder):
    with atomically(Path(folder) / 'record.json') as file:
        file.write(b'half')
        os.kill(os.getpid(), signal.SIGINT)
def tidied(self, missing_ok=False):
    os.kill(os.getpid(), signal.SIGINT)  # pressed again
    os.unlink(self)
Path.unlink = tidied
inspect.inspect = write
"""


IN_TEXT = """
from vtp_export.pipeline import inspect
inspect.inspect = lambda folder: exec('import os, signal; os.kill(os.getpid(), signal.SIGINT)')
"""


@pytest.mark.parametrize(("kind", "expected"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
@pytest.mark.parametrize("before", [WHILE_IMPORTING, WHILE_WRITING, IN_TEXT])
@pytest.mark.parametrize("more", [[], ["--json"]])
def test_an_interruption_is_told_and_leaves_nothing(tmp_path, before, more, kind, expected):
    before = before.replace("SIGINT", kind)
    code, out, err = program("vtp", "inspect", tmp_path, *more, before=f"exec({before!r})")
    assert (code, err) == (expected, "interrupted; nothing was left half written\n")
    assert list(tmp_path.iterdir()) == []
    assert [json.loads(out)["error"]["exit_code"]] * len(more) == [expected] * len(more) if more else out == ""


@pytest.mark.parametrize("kind", ["SIGINT", "SIGHUP"])
def test_what_runs_in_the_background_of_a_script_is_not_interrupted(kind):
    before = f"import signal, os; signal.signal(signal.{kind}, signal.SIG_IGN)"
    before += f"; exec({WHILE_IMPORTING.replace('SIGINT', kind)!r})"
    assert program("vtp", "--version", before=before)[0] == 0


def test_without_standard_error_nothing_is_printed(monkeypatch, capsys):
    class Full:
        def write(self, text):
            raise OSError(28, os.strerror(28))

        flush = write

    with terminal.Listener() as progress:
        monkeypatch.setattr(sys, "stderr", Full())
        progress("working")
        progress.note("a note")
    assert capsys.readouterr().out == ""
