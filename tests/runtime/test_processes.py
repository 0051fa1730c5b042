"""An open artefact and the operating system: CPUs, threads, forks, pickles."""

import copy
import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from vtp_export.errors import SpecError, UnavailableError, VtpWarning
from vtp_export.pipeline.bench import bench
from vtp_export.runtime import machine
from vtp_export.runtime.front_end import load

ROOT = Path(__file__).parent.parent.parent
PIXELS = np.random.default_rng(0).standard_normal((2, 3, 42, 42), dtype=np.float32)

BEGIN = """
import os, signal, sys
import numpy as np
from vtp_export import load
from vtp_export.errors import UnavailableError
artefact, fmt = sys.argv[1:]
signal.alarm(60)  # whoever hangs is ended, child and parent alike
pixels = np.random.default_rng(0).standard_normal((2, 3, 42, 42), dtype=np.float32)

def forked(work):
    child = os.fork()
    if child == 0:
        signal.alarm(30)
        work()
        sys.exit(7)  # the way of an interpreter that ends, with all that it frees
    status = os.waitpid(child, 0)[1]
    assert os.WIFEXITED(status) and os.WEXITSTATUS(status) == 7, status

def refused(call, words):
    try:
        call()
    except UnavailableError as error:
        assert words in str(error), error
    else:
        raise AssertionError("not refused")
"""


def ran(script, *arguments):
    """What a script prints in a process of its own."""
    command = [sys.executable, "-W", "ignore", "-c", BEGIN + script, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


def test_a_fork_is_told_to_load_for_itself_and_frees_nothing(artefact):
    script = """
front_end = load(artefact, fmt, threads=4)
expected = front_end.run(pixels).kept

def child():
    refused(lambda: front_end.run(pixels), "load it here, after the fork")
    refused(lambda: front_end.run_device(pixels), "load it here, after the fork")
    front_end.close()

forked(child)
forked(lambda: None)
with load(artefact, "onnx") as other:
    forked(lambda: None)  # within the block
assert np.array_equal(front_end.run(pixels).kept, expected)

def afresh():
    with load(artefact, "onnx", threads=4) as own:
        assert np.array_equal(own.run(pixels).kept, expected)

forked(afresh)
front_end.close()
print("good")
"""
    assert ran(script, artefact, "onnx") == ["good"]


def test_torch_in_a_fork_is_refused_only_where_it_would_hang(artefact):
    script = """
import torch
torch.set_num_threads(2)

def child():
    with load(artefact, fmt) as own:
        own.run(pixels)

front_end = load(artefact, fmt)
forked(child)
front_end.run(pixels)

def late():
    refused(lambda: front_end.run(pixels), "load it here, after the fork")
    refused(lambda: load(artefact, fmt), "its threads are gone; fork before that")
    front_end.close()

forked(late)
print("good")
"""
    assert ran(script, artefact, "torchscript") == ["good"]


@pytest.mark.skipif(machine.cores() < 2, reason="there is one CPU only")
def test_threads_stay_where_the_process_may_run(artefact):
    script = """
allowed = sorted(os.sched_getaffinity(0))[-1]
os.sched_setaffinity(0, {allowed})
front_end = load(artefact, fmt)
front_end.run(pixels)
tasks = [open(f"/proc/self/task/{task}/status").read() for task in os.listdir("/proc/self/task")]
places = {line.split()[1] for task in tasks for line in task.splitlines() if line.startswith("Cpus_allowed_list")}
print(*places, allowed, front_end._session._session.get_session_options().intra_op_num_threads)
"""
    place, allowed, threads = ran(script, artefact, "onnx")
    assert (place, threads) == (allowed, "1")


def test_cores_are_those_of_the_process():
    assert machine.cores() == len(os.sched_getaffinity(0)) == machine.Sources().cores


def test_threads_of_a_session_are_no_threads_of_torch(artefact):
    """Also where runs overlap."""
    assert torch.get_num_threads() == 1
    seen, meet = [], threading.Barrier(2)
    with load(artefact, "torchscript", threads=3) as front_end:
        assert torch.get_num_threads() == 1
        call = front_end._session._call

        def watched(*tensors):
            seen.append(torch.get_num_threads())
            meet.wait(30)
            result = call(*tensors)
            meet.wait(30)
            return result

        front_end._session._call = watched
        threads = [threading.Thread(target=front_end.run, args=[PIXELS]) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert seen == [3, 3]
    assert torch.get_num_threads() == 1
    found = []
    thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert found == [1]


@pytest.mark.parametrize("threads", [0, -1, 1.5, True, "2"])
def test_what_is_no_number_of_threads_is_refused(artefact, threads):
    for call in (load, lambda folder, threads: bench([folder], threads=threads)):
        with pytest.raises(SpecError, match=f"threads is {threads!r}; it must be .*at least 1"):
            call(artefact, threads=threads)


@pytest.mark.parametrize("threads", [10**4, 10**100, np.int64(10**6)])
def test_threads_that_no_machine_has_are_cut(artefact, threads):
    with pytest.warns(VtpWarning, match=r"threads is 10+\S*, and \d+ are started"):
        front_end = load(artefact, "onnx", threads=threads)
    with front_end:
        options = front_end._session._session.get_session_options()
        assert options.intra_op_num_threads == max(64, 4 * os.cpu_count())


def test_what_is_open_is_not_pickled(artefact):
    with load(artefact) as front_end:
        for opened in (front_end, front_end._session):
            for call in (pickle.dumps, copy.copy, copy.deepcopy):
                with pytest.raises(UnavailableError, match="pass the folder on, and load it there"):
                    call(opened)
        output = front_end.run(PIXELS)
        again = pickle.loads(pickle.dumps(output))
        assert np.array_equal(again.tokens, output.tokens)
