"""Models that were written for a server."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vtp_export.reports.table import Summary, Table


@dataclass(frozen=True, kw_only=True)
class ServedModel:
    """A model that was written, and what the user should know of it. `gpu`: where its instances stand."""

    name: str
    folder: Path
    backend: str
    gpu: bool
    notes: tuple[str, ...]


def triton_summary(repository: Path, models: Sequence[ServedModel]) -> Summary:
    """The models, and how they are served."""
    rows = [(model.name, model.folder, model.backend, "GPU" if model.gpu else "CPU") for model in models]
    variable = "NVIDIA_TF32_OVERRIDE=0 " if any(model.gpu for model in models) else ""
    return (
        Table(str(repository), ("model", "folder", "backend", "runs on"), rows),
        f"next: {variable}tritonserver --model-repository {repository}",
    )
