"""What a parser of TensorRT says of a file, asked in a process of its own: of some files it dies.

python -m vtp_export.backends._tensorrt_judge FILE      prints the refusals as JSON
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from vtp_export.backends._tensorrt_build import Network, Refusal
from vtp_export.backends.tensorrt_rtx import library

PATIENCE = 600
"""Seconds for one file."""


def refusals(onnx: Path) -> tuple[Refusal, ...]:
    """What the parser of TensorRT for RTX does not take of an ONNX file.

    Raises:
        UnavailableError: it cannot be loaded.
    """
    library()  # whatever is wrong with it is said here, and not in the child
    command = [sys.executable, "-W", "ignore", "-m", __name__, str(onnx.absolute())]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(part for part in sys.path if part)}
    try:
        child = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        return (Refusal("", "", f"the parser was not done after {PATIENCE} seconds"),)
    if child.returncode != 0:
        how = signal.Signals(-child.returncode).name if child.returncode < 0 else f"exit code {child.returncode}"
        return (Refusal("", "", f"the parser died of this file: {how}"),)
    return tuple(Refusal(*refusal) for refusal in json.loads(child.stdout.splitlines()[-1]))


if __name__ == "__main__":
    print(json.dumps(Network(library(), Path(sys.argv[1])).refusals))  # noqa: T201
