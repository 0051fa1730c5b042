"""Most memory that a piece of work takes."""

from pathlib import Path
from typing import Any

import torch

STATUS = Path("/proc/self/status")
RESET = Path("/proc/self/clear_refs")
"""Writing 5 sets the process's mark of most memory to what it has now (proc(5))."""


class PeakMemory:
    """Where work is done, and how much it took at most.

    Args:
        device: "cpu" or "cuda".

    Example:
        >>> with PeakMemory("cpu") as peak:
        ...     work = bytes(1000)
        >>> peak.bytes is None or peak.bytes > 1000
        True
    """

    def __init__(self, device: str) -> None:
        """See the class."""
        self._device = device
        self._reset = False
        self.bytes: int | None = None

    def __enter__(self) -> "PeakMemory":
        """Begin."""
        if self._device == "cuda":
            torch.cuda.reset_peak_memory_stats()
            return self
        try:
            RESET.write_text("5")
            self._reset = True
        except OSError:  # another system, or one that does not allow it
            self._reset = False
        return self

    def __exit__(self, *exc: Any) -> None:
        """Read it off."""
        if self._device == "cuda":
            self.bytes = int(torch.cuda.max_memory_allocated())
        elif self._reset:
            lines = STATUS.read_text().splitlines()
            self.bytes = next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), None)
