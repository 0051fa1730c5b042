"""`vtp-export build`: add a format to an artefact on this machine, from a file that it holds already. Without torch."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vtp_export import rooms
from vtp_export.backends.base import Backend
from vtp_export.errors import ArtefactError, SpecError, UnavailableError
from vtp_export.progress import Progress, silent
from vtp_export.reports.artefact import BuildReport
from vtp_export.runtime.artefact import open_artefact
from vtp_export.runtime.brief import brief_of
from vtp_export.runtime.changing import add_build
from vtp_export.runtime.hub import located
from vtp_export.settings import from_settings
from vtp_export.spec import Build

FORMAT = "tensorrt"
"""What is built where no format is named."""


def buildable() -> list[str]:
    """Formats that are built from another format's file, sorted; `export` makes the others."""
    return [name for name in rooms.names("backends") if rooms.load("backends", name).Backend.source != "graph"]


def build(
    folder: str | Path,
    *,
    format: str = FORMAT,
    options: Mapping[str, Any] | None = None,
    force: bool = False,
    progress: Progress = silent,
) -> BuildReport:
    """Build a format, and add it to the artefact; if that fails, the artefact is what it was.

    Args:
        folder: the artefact.
        format: one that is built from another format's file.
        options: of the format, see `BuildOptions` of its backend; values or texts.
        force: replace a build with the same main file.
        progress: hears of every step.

    Raises:
        SpecError: the format is made from the model itself, or an option is none of its options.
        ArtefactError: no artefact, nothing in it to build from, damaged, built for this machine already, or replaced
            meanwhile.
        UnavailableError: the format's libraries, or its device, are not here.
        ExportError: the format cannot be built; relays its compiler's words.
    """
    backend: Backend = rooms.load("backends", format).Backend()
    if backend.source == "graph":
        can = ", ".join(buildable())
        raise SpecError(f"{format} is made from the model itself, by 'vtp-export export'; build makes: {can}")
    building = from_settings(backend.BuildOptions, options, f"option of building {format}")
    artefact = open_artefact(located(folder))
    source = artefact.builds(backend.source)[0]
    if reason := backend.missing_to_build():
        raise UnavailableError(reason)
    if artefact.manifest.signals and rooms.load("backends", source.format).Backend.signals and not backend.signals:
        raise ArtefactError(f"{format} returns no signals, and {source.main} does: export without --signals")
    main = backend.main
    if main in {build.main for build in artefact.manifest.builds} and not force:
        raise ArtefactError(f"'{folder}' has {main} already; use --force to build it anew")
    artefact.verify(source)
    began, brief = time.perf_counter(), brief_of(artefact.manifest, building)

    def make(place: Path) -> Build:
        built = backend.build(artefact.folder / source.main, brief, place, progress)
        progress("writing")
        return built

    return BuildReport(artefact.folder, add_build(artefact, make, source), time.perf_counter() - began)
