"""The console script, and `python -m vtp_export`: ends well however early it is interrupted, whatever is closed."""

import os
import signal
import sys
import time
from types import FrameType
from typing import NoReturn

from vtp_export.endings import INTERRUPTED, INTERRUPTION, failure

STREAMS = {0: os.O_RDONLY, 1: os.O_RDONLY, 2: os.O_WRONLY}
"""How the place of a standard stream that is closed is taken: writing a result fails, writing progress does not."""

PATIENCE = 1.0
"""Seconds in which a second interruption is the first one again, and does not stop what tidies up."""


def main() -> None:
    """Run the command line."""
    _take_places()
    told = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # a script's job in the background is not
    if told:
        signal.signal(signal.SIGINT, _leave)
    from vtp_export.cli import main as run

    try:
        if told:
            signal.signal(signal.SIGINT, _Interruption())
        run()
    finally:
        if told:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # all is said; libraries take a while to go
        exec("")  # Python ends by the signal itself if an interruption came through an exec() that was the last one


def _take_places() -> None:
    """See that no file that is opened gets the number of a standard stream, to which any library may write."""
    for descriptor, mode in STREAMS.items():
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, mode)  # the lowest number that is free
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 (open to the end)
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    """While modules are imported: an exception might be taken for something else, and nothing is written yet."""
    import json

    try:
        os.write(2, f"{INTERRUPTION}\n".encode())
        if "--json" in sys.argv:
            os.write(1, f"{json.dumps(failure('KeyboardInterrupt', INTERRUPTION, INTERRUPTED))}\n".encode())
    finally:
        os._exit(INTERRUPTED)


class _Interruption:
    """From then on: an exception, which everything that is being written hears of."""

    def __init__(self) -> None:
        self._last = -PATIENCE

    def __call__(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if now - self._last >= PATIENCE:
            self._last = now
            raise KeyboardInterrupt


if __name__ == "__main__":
    main()
