"""`vtp-export inspect`: what an artefact says about itself, and whether its files are what it says."""

from dataclasses import dataclass
from pathlib import Path

from vtp_export import rooms
from vtp_export.errors import VtpError
from vtp_export.runtime.artefact import Artefact, open_artefact
from vtp_export.spec import Manifest


@dataclass(frozen=True)
class Inspection:
    """The manifest, and for each format why it cannot run here, or None. All digests have been verified."""

    folder: Path
    manifest: Manifest
    obstacles: dict[str, str | None]


def inspect(folder: Path) -> Inspection:
    """Read and verify.

    Raises:
        ArtefactError: absent, damaged, or of another schema.
    """
    artefact = open_artefact(folder)
    artefact.verify()
    obstacles = {name: _obstacle(artefact, name) for name in artefact.manifest.formats()}
    return Inspection(folder, artefact.manifest, obstacles)


def _obstacle(artefact: Artefact, fmt: str) -> str | None:
    """Why a format cannot be opened here: no runtime, or compiled for another machine."""
    if fmt not in rooms.names("backends"):
        return f"no backend named '{fmt}'"
    backend = rooms.load("backends", fmt).Backend()
    if reason := backend.missing():
        told: str = reason
        return told
    try:
        backend.file(artefact, fmt)
    except VtpError as error:
        return str(error)
    return None
