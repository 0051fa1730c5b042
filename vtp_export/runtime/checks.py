"""What was checked on this machine: remembered in the user's folder for such things, because an artefact is sealed.

One small file for each way to run a build: of this very artefact (identity and digests), on this machine (system,
processor, GPU driver), by these versions (the format's packages, NumPy, Pillow), on one device with one set of options.
Any other way counts as never checked. The folder is `$XDG_STATE_HOME/vtp-export/checks`, or `~/.local/state/...`; where
it cannot be read or written nothing is remembered, and nothing fails.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import platform
import re
from pathlib import Path
from typing import Any, Literal

from vtp_export import rooms
from vtp_export.runtime.machine import Sources, driver
from vtp_export.runtime.versions import versions
from vtp_export.spec import Build, Manifest

Checked = Literal["passed", "failed", "never"]
"""What the last check of a way to run came to, on this machine."""

BESIDE = ("numpy", "pillow")
"""Packages that every check depends on."""


def way(manifest: Manifest, build: Build, device: str, options: Any) -> str:
    """Digest of all that a check depends on.

    Args:
        manifest: of the artefact.
        build: of it, that is run.
        device: where.
        options: an `Options` of the build's backend.
    """
    sources = Sources()
    packages = rooms.load("backends", build.format).Backend.packages
    model = re.search(r"^model name\s*:\s*(.+)$", sources.text("proc/cpuinfo"), re.MULTILINE)
    parts = {
        "manifest": manifest.identity(),
        "build": dataclasses.asdict(build),
        "system": [platform.system(), platform.machine(), model and model[1], sources.text("proc/device-tree/model")],
        "driver": driver(sources.text("proc/driver/nvidia/version")),
        "versions": versions((*packages, *BESIDE)),
        "run": [device, dataclasses.asdict(options)],
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def remember(run: str, passed: bool) -> None:
    """Note what a check of a `way` came to; the last one counts."""
    with contextlib.suppress(OSError, RuntimeError):  # no home, no room, a medium that is read only
        path = _folder() / run
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        beside = path.with_name(f"{run}.{os.getpid()}")
        beside.write_text("passed\n" if passed else "failed\n", encoding="ascii")
        beside.replace(path)


def checked(run: str) -> Checked:
    """What the last check of a `way` came to."""
    with contextlib.suppress(OSError, RuntimeError):
        word = (_folder() / run).read_bytes()[:6]
        return "passed" if word == b"passed" else "failed" if word == b"failed" else "never"
    return "never"


def _folder() -> Path:
    state = os.environ.get("XDG_STATE_HOME", "")
    home = Path(state) if Path(state).is_absolute() else Path.home() / ".local" / "state"
    return home / "vtp-export" / "checks"
