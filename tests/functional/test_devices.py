"""What setting torch up does to the process."""

import ctypes
import subprocess
import sys

import pytest


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="not glibc")
def test_freed_activations_leave_the_process():
    """In a process of its own: what others have allocated there would be in the way."""
    code = """
import torch
from vtp_export.functional.devices import prepare
def resident():
    return int(next(line for line in open("/proc/self/status") if line.startswith("RssAnon")).split()[1])
prepare("cpu")
torch.ones(30 << 18)  # 30 MB: when this is freed, glibc would keep the next ones among small blocks
before, between = resident(), []
for _ in range(20):
    large = torch.ones(20 << 18)
    between.append(torch.ones(4 << 10))
    large = None
    between.append(torch.ones(6 << 18))
assert resident() - before < 150_000, resident() - before
"""
    subprocess.run([sys.executable, "-c", code], check=True)
