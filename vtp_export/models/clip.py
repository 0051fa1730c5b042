"""The vision half of a full CLIP model (`CLIPModel`), as published for CLIP ViT-L/14-336."""

from collections.abc import Collection

from vtp_export.models._checkpoint import Checkpoint
from vtp_export.models._towers import CLIP_DEFAULTS
from vtp_export.models.base import LoadedModel
from vtp_export.models.clip_vision_model import load_tower


def load(checkpoint: Checkpoint, needs: Collection[str]) -> LoadedModel:
    """Load a folder or hub id whose `model_type` is `clip`.

    Files of 2022 describe the tower a second time, as `vision_config_dict`. Transformers lets that one win, in what it
    leaves to the defaults, too.
    """
    vision = checkpoint.section("vision_config") or {}
    older = checkpoint.section("vision_config_dict")
    if older is not None:
        vision = {**vision, **CLIP_DEFAULTS, **older}
    return load_tower(checkpoint, vision, "clip", needs)
