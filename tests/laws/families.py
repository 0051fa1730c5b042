"""Small checkpoints of every family: how they are written, and what a graph of one of any resolution is built for."""

import importlib
import json
from collections.abc import Collection
from pathlib import Path
from types import ModuleType

from vtp_export.graphs.assembly import load_model
from vtp_export.models._sizes import AskedSize
from vtp_export.models.base import LoadedModel


def checkpoints_of(family: str) -> ModuleType:
    """The file that writes them, by the name of the family."""
    return importlib.import_module(f"tests.laws.checkpoints.{family}")


def size_of(name: str | Path) -> AskedSize | None:
    """What the graph of a small checkpoint is built for; None where its pictures have one size."""
    config = Path(name) / "config.json"
    if not config.is_file():
        return None
    family = json.loads(config.read_text())["model_type"]
    size: AskedSize | None = getattr(checkpoints_of(family), "SIZE", None)
    return size


def load_family(name: str | Path, needs: Collection[str] = ()) -> LoadedModel:
    """Load a small checkpoint."""
    return load_model(name, needs, size=size_of(name))
