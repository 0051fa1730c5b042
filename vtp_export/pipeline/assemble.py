"""Names and settings in, the graph out; shared by every command that needs torch."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vtp_export import rooms
from vtp_export.errors import ModelError
from vtp_export.graphs.pruned import PrunedFrontend
from vtp_export.models.base import LoadedModel, n_candidates
from vtp_export.pruners.base import config_from_settings
from vtp_export.spec import Layout, PrunerRecord


@dataclass(frozen=True)
class Assembly:
    """A graph with what the manifest says of it. `notes` are sentences that the user should read."""

    graph: PrunedFrontend
    pruner: PrunerRecord
    layout: Layout
    notes: tuple[str, ...]


def load_model(name: str, revision: str | None = None) -> LoadedModel:
    """Load a front end by embedded name, local folder or hub id.

    Raises:
        ModelError: none of the three, or not loadable.
    """
    from vtp_export.models._checkpoint import folder_checkpoint, hub_checkpoint

    if name in embedded_models():
        loaded: LoadedModel = rooms.load("models", name).load(None)
        return loaded
    if Path(name).is_dir():
        checkpoint = folder_checkpoint(Path(name))
    elif name.count("/") == 1 and not name.startswith((".", "/", "~")) and all(name.split("/")):
        checkpoint = hub_checkpoint(name, revision)
    else:
        raise ModelError(
            f"no model '{name}': not a folder, not a hub id (owner/name), not embedded ({', '.join(embedded_models())})"
        )
    family = checkpoint.config.get("model_type")
    families = [family for family in rooms.names("models") if family not in embedded_models()]
    if family not in families:
        raise ModelError(f"'{name}' is a {family or 'model without a model_type'}; supported: {', '.join(families)}")
    loaded = rooms.load("models", family).load(checkpoint)
    return loaded


def embedded_models() -> list[str]:
    """Models that need no checkpoint, by name; found without importing torch."""
    folder = Path(__file__).parent.parent / "models"
    return [name for name in rooms.names("models") if "\nEMBEDDED = True\n" in (folder / f"{name}.py").read_text()]


def assemble(model: LoadedModel, pruner: str, settings: Mapping[str, Any]) -> Assembly:
    """Put a pruner into a model's front end.

    A budget of all tokens or more is no pruning: the graph of `none` is built, and a note says so.

    Raises:
        UnknownNameError: no such pruner or setting.
        SpecError: a setting out of range.
    """
    n_tokens = n_candidates(model.frontend)
    room = rooms.load("pruners", pruner)
    config = config_from_settings(room.Config, dict(settings))
    notes = []
    if pruner != "none" and config.keep >= n_tokens:
        notes.append(f"keep is {config.keep} and the model has {n_tokens} visual tokens: nothing is pruned")
        pruner, room = "none", rooms.load("pruners", "none")
        config = room.Config()
    config, origins = room.resolve(config) if hasattr(room, "resolve") else (config, {})
    module = room.Pruner(config, n_tokens)
    graph = PrunedFrontend(model.frontend, module, room.NEEDS, room.STAGE)
    graph.requires_grad_(False).eval()
    layout = Layout(tuple(model.frontend.grid), model.frontend.cls_candidate, n_tokens, module.keep)
    return Assembly(graph, PrunerRecord(pruner, dataclasses.asdict(config), origins), layout, tuple(notes))
