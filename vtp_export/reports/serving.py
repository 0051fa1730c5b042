"""Models that were written for a server."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vtp_export.reports.table import Summary, Table


@dataclass(frozen=True)
class ServedModel:
    """A model that was written, and what the user should know of it."""

    name: str
    folder: Path
    backend: str
    notes: tuple[str, ...]


def triton_summary(repository: Path, models: Sequence[ServedModel]) -> Summary:
    """The models, and how they are served."""
    rows = [(model.name, model.folder, model.backend) for model in models]
    return (
        Table(str(repository), ("model", "folder", "backend"), rows),
        f"next: tritonserver --model-repository {repository}",
    )
