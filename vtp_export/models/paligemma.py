"""PaliGemma 1 and 2 (`PaliGemmaForConditionalGeneration`): SigLIP at 224, 448 or 896, its last norm, one linear layer.

Tokens are what stands beside the scaled text embeddings in the language model's input. A host that multiplies its
whole input by sqrt(d), as Transformers 4 and vLLM do, divides them by sqrt(d) first; Transformers 5 does neither.
Selection acts on the patches, of which each is a token. There is no CLS token: a token's saliency is the attention
that it receives in the last layer, mean over heads and queries.
"""

from collections.abc import Collection
from typing import Any

from vtp_export.errors import ModelError, shown
from vtp_export.models._checkpoint import Checkpoint
from vtp_export.models._config import TowerConfig, whole_number
from vtp_export.models._loading import Parts, load_parts
from vtp_export.models._projectors import OneLayer
from vtp_export.models._towers import SIGLIP
from vtp_export.models._weights import Weights
from vtp_export.models.base import LoadedModel
from vtp_export.models.llava import WIDEST

VISION = {
    "hidden_size": 1152,
    "intermediate_size": 4096,
    "num_hidden_layers": 27,
    "num_attention_heads": 16,
    "image_size": 224,
    "patch_size": 14,
}
"""What Transformers' PaliGemmaConfig takes where config.json has no vision_config at all."""

WIDTH = 2048
"""Likewise where it has no projection_dim."""


def load(checkpoint: Checkpoint, needs: Collection[str]) -> LoadedModel:
    """Load the tower and the projector of a PaliGemma; the language model is never read.

    Raises:
        ModelError: another tower than SigLIP, or missing parts.
    """
    config = read_siglip(checkpoint, VISION)
    width = checkpoint.config.get("projection_dim", WIDTH)
    parts = Parts(
        family="paligemma",
        tower=SIGLIP,
        config=config,
        states=(config.num_hidden_layers,),
        normed=True,
        projector=OneLayer(width=whole_number(f"projection_dim of '{checkpoint.id}'", width, WIDEST)),
        processor=SIGLIP.processor,
    )
    return load_parts(checkpoint, Weights(checkpoint), parts, needs)


def read_siglip(checkpoint: Checkpoint, absent: dict[str, Any]) -> TowerConfig:
    """What shapes the tower of a model that takes no other than SigLIP's.

    Args:
        checkpoint: whose.
        absent: what its `config.json` means where it has no vision_config.

    Raises:
        ModelError: another tower.
    """
    vision = checkpoint.section("vision_config")
    vision = absent if vision is None else vision
    kind = vision.get("model_type", "siglip_vision_model")
    if kind != "siglip_vision_model":
        raise ModelError(
            f"the vision tower of '{checkpoint.id}' is {shown(kind)}; supported in this model: siglip_vision_model"
        )
    return SIGLIP.config(vision)
