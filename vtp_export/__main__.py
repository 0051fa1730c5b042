"""The console script, and `python -m vtp_export`: ends well however early it is interrupted, whatever is closed."""

import os
import signal
import sys
import time
from types import FrameType
from typing import NoReturn

from vtp_export.endings import INTERRUPTION, failure, interrupted_by

STREAMS = {0: os.O_RDONLY, 1: os.O_RDONLY, 2: os.O_WRONLY}
"""How the place of a standard stream that is closed is taken: writing a result fails, writing progress does not."""

SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
"""By which people and machines ask a program to end. The first process of a container gets no second chance: what it
does not handle it does not hear of, until it is killed."""

DEFAULT = (signal.default_int_handler, signal.SIG_DFL)
"""Whoever started this in the background of a script, or under nohup, has set something else."""

PATIENCE = 1.0
"""Seconds in which a second interruption is the first one again, and does not stop what tidies up."""


def main() -> None:
    """Run the command line."""
    _take_places()
    signals = [number for number in SIGNALS if signal.getsignal(number) in DEFAULT]
    for number in signals:
        signal.signal(number, _leave)
    from vtp_export.cli import main as run

    try:
        interruption = _Interruption()
        for number in signals:
            signal.signal(number, interruption)
        run()
    finally:
        for number in signals:
            signal.signal(number, signal.SIG_IGN)  # all is said; libraries take a while to go
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

    code = interrupted_by(number)
    try:
        os.write(2, f"{INTERRUPTION}\n".encode())
        if "--json" in sys.argv:
            os.write(1, f"{json.dumps(failure('KeyboardInterrupt', INTERRUPTION, code))}\n".encode())
    finally:
        os._exit(code)


class _Interruption:
    """From then on: an exception, which everything that is being written hears of."""

    def __init__(self) -> None:
        self._last = -PATIENCE

    def __call__(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if now - self._last >= PATIENCE:
            self._last = now
            interrupted_by(number)
            raise KeyboardInterrupt


if __name__ == "__main__":
    main()
