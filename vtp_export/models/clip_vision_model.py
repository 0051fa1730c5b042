"""A bare CLIP vision tower (`CLIPVisionModel`), no projector: tokens are the features that LLaVA would read.

LLaVA's convention is followed: output of the last but one layer, CLS dropped, no post-layernorm.
"""

from collections.abc import Collection
from typing import Any

from vtp_export.models._checkpoint import Checkpoint
from vtp_export.models._config import read_layers
from vtp_export.models._loading import Parts, load_parts
from vtp_export.models._towers import CLIP
from vtp_export.models._weights import Weights
from vtp_export.models.base import LoadedModel


def load(checkpoint: Checkpoint, needs: Collection[str]) -> LoadedModel:
    """Load a folder or hub id whose `model_type` is `clip_vision_model`."""
    return load_tower(checkpoint, checkpoint.config, "clip_vision_model", needs)


def load_tower(checkpoint: Checkpoint, raw: dict[str, Any], family: str, needs: Collection[str]) -> LoadedModel:
    """Load the tower that a `vision_config` describes.

    Raises:
        ModelError: it describes no CLIP tower.
    """
    config = CLIP.config(raw)
    parts = Parts(
        family=family,
        tower=CLIP,
        config=config,
        states=read_layers([-2], config.num_hidden_layers),
        processor=CLIP.processor,
    )
    return load_parts(checkpoint, Weights(checkpoint), parts, needs)
