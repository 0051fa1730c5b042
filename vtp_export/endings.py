"""How the command line ends, in numbers. Imports nothing: it is needed before anything else can be imported."""

FAILED = 1
"""The check that was asked for failed."""

MISTAKE = 2
"""A mistake of the user's, or something that is missing on the machine: one sentence says what would be right."""

CRASH = 70
"""A mistake of this program: one sentence asks for a report, and names the file with the traceback."""

INTERRUPTED = 130
"""Interrupted; whatever was being written is as it was before. By another signal than Ctrl-C's: 128 and its number."""

UNREAD = 141
"""Whoever read the output went away (`vtp-export list | head -1`)."""

INTERRUPTION = "interrupted; nothing was left half written"


class _Last:
    """What interrupted this process last; the parser turns what was raised into something of its own."""

    code = INTERRUPTED


def interrupted_by(signal: int) -> int:
    """Note which signal it was.

    Returns:
        The exit code: 130 of SIGINT (Ctrl-C), 143 of SIGTERM (`docker stop`, `kill`), 129 of SIGHUP.
    """
    _Last.code = 128 + signal
    return _Last.code


def code_of_interruption() -> int:
    """The exit code of what was interrupted."""
    return _Last.code


SCHEMA = 1
"""Of what `--json` prints; it grows when a key changes its meaning or goes."""


def failure(kind: str, sentence: str, code: int) -> dict[str, object]:
    """What `--json` prints of an error."""
    return {"schema": SCHEMA, "error": {"kind": kind, "message": sentence, "exit_code": code}}
