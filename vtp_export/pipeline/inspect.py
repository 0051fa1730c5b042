"""`vtp-export inspect`: what an artefact says about itself, and whether its files are what it says."""

from dataclasses import dataclass
from pathlib import Path

from vtp_export.runtime.artefact import Artefact, steadily
from vtp_export.runtime.front_end import obstacle
from vtp_export.spec import Manifest


@dataclass(frozen=True)
class Inspection:
    """The manifest, and for each format why it cannot run here, or None. All digests have been verified."""

    folder: Path
    manifest: Manifest
    obstacles: dict[str, str | None]


def inspect(folder: str | Path) -> Inspection:
    """Read and verify.

    Raises:
        ArtefactError: absent, damaged, or of another schema.
    """

    def look(artefact: Artefact) -> Inspection:
        artefact.verify()
        obstacles = {name: obstacle(artefact, name) for name in artefact.manifest.formats()}
        return Inspection(artefact.folder, artefact.manifest, obstacles)

    return steadily(folder, look)
