"""What a machine has: its board, driver, GPUs, CPU, memory and libraries. Standard library only.

Functions of texts and folders, so that a machine can be described which is not at hand; `Sources` fetches the texts.
"""

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vtp_export.runtime.versions import version

JETPACK = {"35": "5", "36": "6", "38": "7"}
"""Major version of JetPack by that of L4T."""

BOARDS = {"xavier": "7.2", "orin": "8.7", "thor": "11.0"}
"""Compute capability by a word in the name of a Jetson board."""

LIBRARIES = ("libcudart", "libcublas", "libcudnn", "libnvinfer", "libnvonnxparser")


def cores() -> int:
    """CPUs that this process may run on: `taskset`, a container or a scheduler may have left it a few only."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _run(*command: str) -> str:
    """Output of a program, empty where there is no such program or it fails."""
    path = shutil.which(command[0]) or shutil.which(command[0], path="/sbin:/usr/sbin")
    if path is None:
        return ""
    try:
        ended = subprocess.run([path, *command[1:]], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.SubprocessError):
        return ""
    return ended.stdout if ended.returncode == 0 else ""


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Where the texts come from.

    root: of the file system. run: a program's output. package: version of a Python package, or None.
    """

    root: Path = Path("/")
    run: Callable[..., str] = _run
    package: Callable[[str], str | None] = version
    architecture: str = platform.machine()
    cores: int = field(default_factory=cores)

    def text(self, path: str) -> str:
        """A file's content, empty where it is not there."""
        try:
            return (self.root / path).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""


@dataclass(frozen=True)
class Gpu:
    """A GPU's name, compute capability ("8.7"; None: not known) and memory as its driver writes it."""

    name: str
    compute_capability: str | None
    memory: str | None = None


def board(model: str, release: str) -> str | None:
    """A Jetson board and its software.

    Args:
        model: of /proc/device-tree/model.
        release: of /etc/nv_tegra_release.

    Example:
        >>> board("NVIDIA Jetson Orin Nano", "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic")
        'NVIDIA Jetson Orin Nano, L4T 36.4.3 (JetPack 6)'
    """
    found = re.search(r"R(\d+) \(release\), REVISION: ([\d.]+)", release)
    name = model.rstrip("\0\n") if "jetson" in model.lower() or found else ""
    if found is None:
        return name or None
    major, minor = found.groups()
    jetpack = f" (JetPack {JETPACK[major]})" if major in JETPACK else ""
    return f"{name or 'a Tegra board'}, L4T {major}.{minor}{jetpack}"


def driver(text: str) -> str | None:
    """Version of NVIDIA's driver, of /proc/driver/nvidia/version.

    Example:
        >>> driver("NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.65.06  Sun Jul 27 07:15:14 UTC 2026")
        '580.65.06'
    """
    found = re.search(r"Kernel Module\s+(?:for \S+\s+)?(\d+(?:\.\d+)+)", text)
    return found[1] if found else None


def gpus(table: str, model: str) -> list[Gpu]:
    """GPUs of a machine.

    Args:
        table: of `nvidia-smi --query-gpu=name,compute_cap,memory.total --format=csv,noheader`.
        model: of /proc/device-tree/model: a Jetson's GPU is known by its board.
    """
    known = next((capability for word, capability in BOARDS.items() if word in model.lower()), None)
    rows = [[cell.strip() for cell in line.split(",")] for line in table.splitlines() if line.count(",") == 2]
    listed = [
        Gpu(name, _number(capability) or known, memory if _number(memory) else None)
        for name, capability, memory in rows
    ]
    if not listed and known is not None:
        return [Gpu(model.rstrip("\0\n"), known, "shared with the CPU")]
    return listed


def _number(text: str) -> str | None:
    found = re.match(r"\d+(?:\.\d+)?", text)
    return found[0] if found else None


def libraries(cache: str, stems: Sequence[str] = LIBRARIES) -> list[str]:
    """Libraries by name with the major version, of `ldconfig -p`.

    Example:
        >>> libraries("libnvinfer.so.10 (libc6,AArch64) => /lib/libnvinfer.so.10 libcudart.so (libc6)")
        ['libnvinfer.so.10']
    """
    names = set(re.findall(rf"\b((?:{'|'.join(stems)})\.so\.\d+) ", cache))
    return sorted(names)


def processor(cpuinfo: str, architecture: str, cores: int) -> str:
    """Model of the CPU, of /proc/cpuinfo, with its cores."""
    found = re.search(r"^model name\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    return f"{found[1].strip() if found else architecture}, {cores} cores"


def memory_bytes(meminfo: str) -> tuple[int, int] | None:
    """(all, available), of /proc/meminfo."""
    found = [re.search(rf"^{name}:\s+(\d+) kB", meminfo, re.MULTILINE) for name in ("MemTotal", "MemAvailable")]
    if found[0] is None or found[1] is None:
        return None
    return int(found[0][1]) * 1024, int(found[1][1]) * 1024


def inference_version(number: int) -> str:
    """TensorRT's version, of what `getInferLibVersion()` returns.

    Example:
        >>> inference_version(8502), inference_version(100300)
        ('8.5.2', '10.3.0')
    """
    major = 10000 if number >= 10000 else 1000
    return f"{number // major}.{number % major // 100}.{number % 100}"
