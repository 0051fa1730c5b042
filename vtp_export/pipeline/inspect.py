"""`vtp-export inspect`: what an artefact says about itself, and whether its files are what it says."""

from pathlib import Path

from vtp_export.reports.artefact import Inspection
from vtp_export.runtime.artefact import Artefact, steadily
from vtp_export.runtime.formats import obstacle
from vtp_export.runtime.hub import located


def inspect(folder: str | Path) -> Inspection:
    """Read and verify.

    Raises:
        ArtefactError: absent, damaged, or of another schema.
    """

    def look(artefact: Artefact) -> Inspection:
        artefact.verify()
        obstacles = {name: obstacle(artefact, name) for name in artefact.manifest.formats()}
        return Inspection(
            folder=artefact.folder,
            manifest=artefact.manifest,
            plan=artefact.plan(),
            obstacles=obstacles,
            proven=bool(artefact.manifest.proven()),
        )

    return steadily(located(folder), look)
