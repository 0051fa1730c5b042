"""The rule of this folder: whatever comes in, a right result or one sentence, soon, within the memory it explains."""

import contextlib
import faulthandler
import io
import json
import resource
import signal
import sys
import warnings
from pathlib import Path

from vtp_export import cli
from vtp_export.endings import FAILED, MISTAKE, UNREAD
from vtp_export.errors import VtpError

SECONDS, MEGABYTES = 30.0, 700
"""Of one case, on a loaded machine: far more than any takes, far less than what was declared could take."""

LONGEST = 1500
"""Characters of a sentence besides what was said on the command line."""

MEMORY = "not enough memory"
"""In the sentence on a MemoryError: no case here declares what a machine has to have."""


class Hang(BaseException):
    """A case took too long; nothing may take it for an error of its own."""


@contextlib.contextmanager
def bounded(seconds=SECONDS, megabytes=MEGABYTES):
    """Fail what takes longer, or makes the process larger. What does not return to Python ends the process."""

    def hang(*_):
        raise Hang(f"still at work after {seconds} s")

    before, old = _reset_peak(), signal.signal(signal.SIGALRM, hang)
    faulthandler.dump_traceback_later(4 * seconds, exit=True, file=sys.__stderr__)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
        faulthandler.cancel_dump_traceback_later()
    grown = _peak() - before
    assert grown < megabytes, f"the process grew by {grown:.0f} MB"


def _reset_peak():
    """Resident megabytes now, from where the peak counts on."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return _peak()


def _peak():
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def check_sentence(sentence, words=()):
    sentence.encode()
    assert sentence.isprintable(), repr(sentence)
    assert 10 < len(sentence) < LONGEST + 3 * sum(map(len, words)), sentence
    assert MEMORY not in sentence


def outcome(call, *arguments, **bounds):
    """What a call returns, or the VtpError that it raises; any other end of it is a failure."""
    with bounded(**bounds), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return call(*arguments)
        except VtpError as error:
            check_sentence(str(error))
            return error


def vtp(*words, stdout=None):
    """The command line in this process, held to the rule.

    Args:
        words: after the program's name.
        stdout: where it prints instead; then what it prints is not looked at.

    Returns:
        Its exit code, and what it wrote to both streams.
    """
    words = [str(word) for word in words]
    streams, arguments = (sys.stdout, sys.stderr), sys.argv
    out = io.TextIOWrapper(io.BytesIO(), "utf-8", errors="strict")  # as Python makes them
    err = io.TextIOWrapper(io.BytesIO(), "utf-8", errors="backslashreplace")
    sys.argv, sys.stdout, sys.stderr = ["vtp-export", *words], stdout or out, err
    try:
        with bounded(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            cli.main()
    except SystemExit as end:
        code = end.code or 0
    finally:
        sys.argv, (sys.stdout, sys.stderr) = arguments, streams
    printed, told = (_written(stream) for stream in (out, err))
    check_ending(words, code, None if stdout else printed, told)
    return code, printed, told


def _written(stream):
    stream.flush()
    return stream.buffer.getvalue().decode()


def check_ending(words, code, out, err):
    """`out`: None where it was not looked at."""
    assert code in (0, FAILED, MISTAKE, UNREAD), (words, code, err)
    assert code != UNREAD or out is None, (words, err)
    sentences = [line for line in err.splitlines() if line.startswith("error: ")]
    if code == MISTAKE:
        assert len(sentences) == 1 and err.endswith(f"{sentences[0]}\n"), (words, err)
        check_sentence(sentences[0], words)
    else:
        assert not sentences, (words, code, err)
    assert "Traceback" not in err or "-v" in words or "--verbose" in words, (words, err)
    if out and "--json" in words and "--help" not in words and "-h" not in words:
        json.loads(out, parse_constant=_no_json)


def _no_json(constant):
    raise AssertionError(f"{constant} is not JSON")
