"""Blocks of a calibration on a Ray cluster: a thin layer over the function that measures them in one process.

Tasks of Ray's core, and none of its data library: that one retries a picture which kills its process without end, and
drops a whole batch where one row is bad. Here every task returns what it measured of a few blocks, a task whose process
ended is run again three times, and whoever called sees each block once.

Ray listens on all of a machine's addresses, and from 2.60 on it writes a token that clients must know into the home
folder (RAY_AUTH_MODE=disabled turns that off). It is told here to send no usage statistics.
"""

import importlib
import importlib.util
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from vtp_export.errors import UnavailableError, VtpError, first_line
from vtp_export.extras import install
from vtp_export.runtime.images import batched

Result = TypeVar("Result")

LOCAL = "local"
"""The address of a cluster that is started on this machine, and ended with the work."""

RETRIES = 3
GROUP = 8
"""Blocks of a task at most: what is lost with a process."""


@contextmanager
def cluster(address: str) -> Iterator[Any]:
    """Ray, connected.

    Args:
        address: `LOCAL`, "auto", or HOST:PORT of a cluster's head.

    Raises:
        UnavailableError: Ray is not installed, or there is no such cluster.
    """
    if importlib.util.find_spec("ray") is None:
        raise UnavailableError(f"--ray needs Ray: {install('ray')}")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray = importlib.import_module("ray")
    try:
        started = {"include_dashboard": False} if address == LOCAL else {}
        ray.init(address=address, log_to_driver=False, logging_level="ERROR", **started)
    except Exception as error:  # its own kinds are many, and change
        raise UnavailableError(f"no Ray cluster at '{address}': {first_line(error)}") from error
    try:
        yield ray
    finally:
        ray.shutdown()


def once(ray: Any, task: Callable[[], Result], gpus: int) -> Result:
    """Run something on the cluster."""
    return _got(ray, _remote(ray, task, gpus).remote())  # type: ignore[no-any-return]


def spread(
    ray: Any, task: Callable[[Sequence[int]], list[Result]], numbers: Sequence[int], gpus: int
) -> Iterator[Result]:
    """What the task makes of each number, in any order.

    Args:
        ray: see `cluster`.
        task: of a few numbers; importable on every machine, as are its files there.
        numbers: all of them.
        gpus: that a task takes, 0 or 1.

    Raises:
        VtpError: one that the task raised.
        UnavailableError: a task's process ended again and again.
    """
    resources = ray.cluster_resources()
    places = max(1, int(resources.get("GPU" if gpus else "CPU", 1)))
    remote = _remote(ray, task, gpus)
    groups = iter(batched(numbers, max(1, min(GROUP, -(-len(numbers) // (2 * places))))))
    waiting: list[Any] = []
    while True:
        while len(waiting) < 2 * places and (group := next(groups, None)) is not None:
            waiting.append(remote.remote(group))
        if not waiting:
            return
        done, waiting = ray.wait(waiting, num_returns=1)
        yield from _got(ray, done[0])


def _remote(ray: Any, task: Callable[..., Any], gpus: int) -> Any:
    def calibrating(*given: Any) -> Any:  # its name is what a process at work is called
        return task(*given)

    return ray.remote(num_cpus=1, num_gpus=gpus, max_retries=RETRIES)(calibrating)


def _got(ray: Any, reference: Any) -> Any:
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, VtpError):
            raise error.cause from error
        raise
    except ray.exceptions.RayError as error:
        raise UnavailableError(
            f"work on the cluster ended {RETRIES + 1} times without a result ({first_line(error)}); where a picture "
            "ends its process, --workers 1 finds out which"
        ) from error
