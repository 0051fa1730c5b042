"""Formats of artefacts that are timed side by side: which can run here, and what tables call them."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from vtp_export.progress import Progress
from vtp_export.runtime.artefact import open_artefact
from vtp_export.runtime.formats import obstacle
from vtp_export.runtime.front_end import PrunedArtefact, load
from vtp_export.runtime.hub import told_name
from vtp_export.runtime.images import note

WARM_UP = 2
"""Runs before those that are timed."""

MOST_ROUNDS = 1_000_000

Place = tuple[str | Path, str]
"""A folder, and a format of it."""


def name_of(place: Place, on: str) -> str:
    """How a format of an artefact is called in a table; `on` tells of a device."""
    return f"{told_name(place[0])} {place[1]}{on}"


def chosen_formats(
    folders: Sequence[str | Path], formats: Sequence[str], device: str | None
) -> tuple[list[Place], dict[Place, str]]:
    """What is to run, and why the rest of the artefacts cannot.

    Args:
        folders: artefacts.
        formats: what is named is to run; none for all that can run here.
        device: see `load`.

    Raises:
        ArtefactError: a folder is none.
    """
    chosen: list[Place] = []
    absent: dict[Place, str] = {}
    for folder in folders:
        artefact = open_artefact(folder)
        present = list(formats) or artefact.manifest.formats()
        reasons = {} if formats else {fmt: why for fmt in present if (why := obstacle(artefact, fmt, device))}
        if len(reasons) == len(present):
            reasons = {}  # the first that is opened says why not
        chosen += [(folder, fmt) for fmt in present if fmt not in reasons]
        absent |= {(folder, fmt): why for fmt, why in reasons.items()}
    return chosen, absent


def note_absent(absent: Mapping[Place, str]) -> None:
    """Say what is left out, and why."""
    for (folder, fmt), reason in absent.items():
        note(f"{folder}: {fmt} is left out: {reason}")


def opened(
    places: Sequence[Place], stack: contextlib.ExitStack, options: Mapping[str, Any], progress: Progress, **how: Any
) -> Iterator[tuple[Place, PrunedArtefact]]:
    """Open one after the other, until the stack is left.

    Args:
        places: what.
        stack: closes them.
        options: of each format, see `formats.options_of`.
        progress: hears of each.
        how: device and threads, see `load`.

    Raises:
        VtpError: see `load`.
    """
    for folder, fmt in places:
        progress(f"opening {folder} ({fmt})")
        yield (folder, fmt), stack.enter_context(load(folder, fmt, options=options[fmt], **how))
