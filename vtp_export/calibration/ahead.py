"""Pictures are decoded while the model computes: a few runs of them ahead of it, and no more.

By a thread, or by processes where decoding is what takes longest. A process may be killed: by the system when memory
ends, or by a picture on which a decoder crashes. What it was doing is done again, at last picture by picture, and a
picture that kills its process twice is broken like one that cannot be read.
"""

import os
import signal
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process

from vtp_export.calibration.decoding import Decoded, Work, alone, plain, together
from vtp_export.calibrations import Broken
from vtp_export.errors import UnavailableError, VtpWarning
from vtp_export.runtime.images import note

TRIES = 2
"""So often is a picture tried in a process that has nothing else to do."""

Task = Callable[[Work], Decoded]


def decoded_ahead(works: Iterable[Work], decoder: Task, workers: int = 0) -> Iterator[Decoded]:
    """The work done, in its order, a few pieces ahead of whoever takes it.

    Args:
        works: read as far as is worked ahead.
        decoder: does one; can be sent to another process if there are workers.
        workers: processes; 0 for a thread of this one.

    Raises:
        UnavailableError: no process can be started.
    """
    rest, waiting = iter(works), deque[tuple[Work, Future[Decoded]]]()
    pool, most = _pool(workers), 2 * workers + 2
    try:
        while True:
            while len(waiting) < most and (work := next(rest, None)) is not None:
                waiting.append((work, _submitted(pool, decoder, work, workers)))
            if not waiting:
                return
            try:
                done = waiting[0][1].result()
            except BrokenProcessPool:
                # Which of them is to blame is not known.
                pool.shutdown(wait=False, cancel_futures=True)
                again = [work for work, _ in waiting]
                waiting.clear()
                for work in again:
                    yield _told(_carefully(work, decoder))
                pool = _pool(workers)
                continue
            waiting.popleft()
            yield _told(done)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _pool(workers: int) -> Executor:
    """Processes that share nothing: a fork of one in which torch or CUDA has run would hang."""
    if workers == 0:
        return ThreadPoolExecutor(1)
    return ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_serving)


def _submitted(pool: Executor, decoder: Task, work: Work, workers: int) -> "Future[Decoded]":
    try:
        return pool.submit(decoder, work) if workers == 0 else pool.submit(_noting, decoder, work)
    except BrokenProcessPool as error:  # since the last look; told where it is waited for
        failed: Future[Decoded] = Future()
        failed.set_exception(error)
        return failed


def _carefully(work: Work, decoder: Task) -> Decoded:
    """Work that may have killed a process: in one of its own, and if that ends, too, picture by picture."""
    found = _by_itself(work, decoder)
    if found is not None:
        return found
    parts = []
    for one in alone(work):
        part = next((made for _ in range(TRIES) if (made := _by_itself(one, decoder)) is not None), None)
        position, picture = one.pictures[0]
        blame = Broken(position, plain(picture.name), f"'{picture.name}' ended the process that decoded it")
        parts.append(part if part is not None else Decoded(work.number, (), (blame,)))
    return together(work.number, parts)


def _by_itself(work: Work, decoder: Task) -> Decoded | None:
    """None where the process did not live to tell.

    Raises:
        UnavailableError: not even one that does nothing lives.
    """
    with _pool(1) as pool:
        try:
            pool.submit(int).result()
        except BrokenProcessPool as error:
            raise UnavailableError(
                "processes that decode pictures end as they start: in a script, call calibrate below "
                "`if __name__ == '__main__':`; or do without them (--workers 0)"
            ) from error
        try:
            return pool.submit(_noting, decoder, work).result()
        except BrokenProcessPool:
            return None


_notes: list[str] = []
"""What was noted in this process, which decodes for another."""


def _serving() -> None:
    """Keep notes for the process that asked, leave interruptions to it, and end with it, even if it was killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    warnings.simplefilter("always", VtpWarning)
    warnings.showwarning = lambda message, *_: _notes.append(str(message))


def _end_with_parent() -> None:
    if (parent := parent_process()) is not None:
        parent.join()
        os._exit(1)


def _noting(decoder: Task, work: Work) -> Decoded:
    _notes.clear()
    done = decoder(work)
    return Decoded(done.number, done.views, done.broken, tuple(_notes))


def _told(done: Decoded) -> Decoded:
    for sentence in done.notes:
        note(sentence)
    return done
