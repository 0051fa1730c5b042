"""Time and peak memory of a piece of work in a process of its own; milliseconds of calls taken in turns."""

import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping

PYTHON = [sys.executable, "-W", "ignore", "-c"]

# ru_maxrss of a child starts at what its parent held when it forked; VmHWM belongs to the new program alone.
REPORT = """
print([line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")][0])
"""


def in_process(code: str) -> tuple[float, float, float]:
    """Run Python code in a child.

    Returns:
        Seconds, processor seconds of all threads (which other work on the machine disturbs less), and peak resident
        memory in bytes (mapped file pages that were touched included).

    Raises:
        RuntimeError: the child failed; its error output is the message.
    """
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    child = subprocess.run([*PYTHON, code + REPORT], capture_output=True, text=True, check=False)
    if child.returncode != 0:
        raise RuntimeError(child.stderr)
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, processor, float(child.stdout.split()[-1]) * 1024


def in_turns(
    calls: Mapping[str, Callable[[], object]],
    rounds: int,
    warm_up: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Median milliseconds of each call, one of each in turn, so that the machine's noise falls on all alike.

    Args:
        calls: by name.
        rounds: of one call each.
        warm_up: rounds before them, which do not count.
        clock: seconds; `time.process_time` counts those of the processor, which other work disturbs less.
    """
    spent: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(warm_up + rounds):
        for name, call in calls.items():
            began = clock()
            call()
            if turn >= warm_up:
                spent[name].append((clock() - began) * 1e3)
    return {name: statistics.median(values) for name, values in spent.items()}
