"""LLaVA-OneVision (`LlavaOnevisionForConditionalGeneration`): LLaVA-NeXT's tiles before a SigLIP tower.

One picture a prompt: of several, the model sees each in one view that is padded to a square, which is not done here.
"""

import re
from collections.abc import Collection
from dataclasses import replace

from vtp_export.errors import ModelError, shown
from vtp_export.models._checkpoint import Checkpoint
from vtp_export.models._loading import load_parts
from vtp_export.models._weights import Weights
from vtp_export.models.base import LoadedModel
from vtp_export.models.llava_next import tiled_parts
from vtp_export.runtime.pinpoints import ONEVISION_PINPOINTS

VISION = {
    "model_type": "siglip_vision_model",
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_hidden_layers": 26,
    "num_attention_heads": 16,
    "image_size": 384,
    "patch_size": 14,
}
"""SigLIP so400m without its last layer: what Transformers takes where config.json has no vision_config at all."""


def load(checkpoint: Checkpoint, needs: Collection[str]) -> LoadedModel:
    """Load the tower, the projector and the newline vector of a LLaVA-OneVision; the language model is never read.

    Raises:
        ModelError: as LLaVA-NeXT's, or a `vision_aspect_ratio` of another kind.
    """
    weights = Weights(checkpoint)
    parts = tiled_parts(
        checkpoint, weights, VISION, family="llava_onevision", layer=-1, strategy="full", pinpoints=ONEVISION_PINPOINTS
    )
    parts = replace(parts, processor="LlavaOnevisionImageProcessor", anyres_max=_anyres_max(checkpoint))
    return load_parts(checkpoint, weights, parts, needs)


def _anyres_max(checkpoint: Checkpoint) -> int:
    ratio = checkpoint.config.get("vision_aspect_ratio", "anyres_max_9")
    most = re.fullmatch(r"anyres_max_([1-9]\d{0,3})", ratio) if isinstance(ratio, str) else None
    if most is None:
        raise ModelError(f"vision_aspect_ratio of '{checkpoint.id}' is {shown(ratio)}; anyres_max_N is needed")
    return int(most[1])
