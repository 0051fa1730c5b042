"""The vision half of a full CLIP model (`CLIPModel`), as published for CLIP ViT-L/14-336."""

from collections.abc import Collection

from vtp_export.models._checkpoint import Checkpoint
from vtp_export.models.base import LoadedModel
from vtp_export.models.clip_vision_model import load_tower


def load(checkpoint: Checkpoint, needs: Collection[str]) -> LoadedModel:
    """Load a folder or hub id whose `model_type` is `clip`."""
    return load_tower(checkpoint, checkpoint.config.get("vision_config") or {}, "clip", needs)
