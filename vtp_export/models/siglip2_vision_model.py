"""A bare SigLIP 2 tower of any resolution (NaFlex, `Siglip2VisionModel`) at one square grid of patches.

Its image processor chooses a grid by the shape of each picture, and pads; an exported graph has one grid, the largest
square within `max_num_patches`, and no padding: pictures of another shape are stretched to it, which is what a square
picture gets from the processor, and a note says so. SigLIP 2 of a fixed resolution is `siglip`.
Tokens are the last hidden state, after the post-layernorm; without CLS, saliency is the attention received.
"""

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

from vtp_export.errors import ModelError, shown
from vtp_export.models._checkpoint import Checkpoint
from vtp_export.models._loading import load_bare
from vtp_export.models._towers import SIGLIP2
from vtp_export.models.base import LoadedModel


def load(checkpoint: Checkpoint, needs: Collection[str]) -> LoadedModel:
    """Load a folder or hub id whose `model_type` is `siglip2_vision_model`."""
    return load_naflex(checkpoint, checkpoint.config, needs, "siglip2_vision_model")


def load_naflex(checkpoint: Checkpoint, raw: Mapping[str, Any], needs: Collection[str], family: str) -> LoadedModel:
    """Load the tower that a `vision_config` describes.

    Raises:
        ModelError: it describes no such tower, or the image processor cuts patches of another size.
    """
    settings, patch = checkpoint.image_processor(), SIGLIP2.config(raw).patch_size
    if settings is not None and (cut := settings[0].get("patch_size") or 16) != patch:
        raise ModelError(
            f"{settings[1]} of '{checkpoint.id}' cuts patches of {shown(cut)} pixels, and the tower takes {patch}"
        )
    model = load_bare(checkpoint, raw, needs, family=family, tower=SIGLIP2)
    rows, columns = model.frontend.candidates.grid
    note = (
        f"pictures of any shape are stretched to {rows} x {columns} patches: the image processor of '{checkpoint.id}' "
        "gives a square picture the same, and another shape a grid of its own, which one graph cannot have"
    )
    return dataclasses.replace(model, notes=(*model.notes, note))
