"""Image files of every kind that Pillow writes, damaged, and images as nobody would make them."""

import subprocess
import sys

import pytest

SAMPLE, WHOLE = 40, 1500


def looked_at(first, last, folder):
    """In a process of its own, which may be ended by a decoder."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.pictures", str(first), str(last), str(folder)],
        capture_output=True,
        text=True,
        timeout=240,
    )
    numbers = done.stdout.splitlines()
    assert done.returncode == 0, f"at {numbers[-1:]}: exit code {done.returncode}\n{done.stderr[-2000:]}"
    assert len(numbers) == last - first + 1 and numbers[-1] == "all"


def test_a_sample_of_images(tmp_path):
    looked_at(0, SAMPLE, tmp_path)


@pytest.mark.whole
def test_images(tmp_path):
    looked_at(SAMPLE, WHOLE, tmp_path)
