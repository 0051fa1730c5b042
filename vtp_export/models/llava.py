"""LLaVA-1.5 (`LlavaForConditionalGeneration`) with a CLIP tower of any size and a two-layer projector."""

from collections.abc import Collection

from vtp_export.errors import ModelError, shown
from vtp_export.models._checkpoint import Checkpoint
from vtp_export.models._clip import clip_config, read_layers, whole_number
from vtp_export.models._frontend import empty_frontend
from vtp_export.models._loading import filled, projector_width
from vtp_export.models._weights import Weights
from vtp_export.models.base import LoadedModel

CLS_KEPT = {"default": False, "full": True}

VISION = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "image_size": 336,
    "patch_size": 14,
}
"""ViT-L/14-336: what Transformers' LlavaConfig takes where config.json has no vision_config at all."""

WIDEST = 1 << 16
"""Channels of a language model, beyond which the number is a mistake."""


def load(checkpoint: Checkpoint, needs: Collection[str]) -> LoadedModel:
    """Load the tower and the projector of a LLaVA; the language model is never read.

    Raises:
        ModelError: another tower than CLIP, an unknown `vision_feature_select_strategy`, or missing parts.
    """
    raw, vision = checkpoint.config, checkpoint.section("vision_config")
    vision = VISION if vision is None else vision
    kind = vision.get("model_type", "clip_vision_model")
    if kind != "clip_vision_model":
        raise ModelError(f"the vision tower of '{checkpoint.id}' is {shown(kind)}; llava needs a clip_vision_model")
    config = clip_config(vision)
    strategy = raw.get("vision_feature_select_strategy", "default")
    if strategy not in list(CLS_KEPT):  # a list, because what cannot be hashed may stand there too
        raise ModelError(
            f"vision_feature_select_strategy of '{checkpoint.id}' is {shown(strategy)}; "
            f"supported: {', '.join(CLS_KEPT)}"
        )
    layers = raw.get("vision_feature_layer", -2)
    states = read_layers(layers if isinstance(layers, list) else [layers], config.num_hidden_layers)
    weights = Weights(checkpoint)
    empty = empty_frontend(config, states, CLS_KEPT[strategy], _projector(checkpoint, weights), needs)
    return filled(empty, checkpoint, weights, family="llava", processor="LlavaImageProcessor")


def _projector(checkpoint: Checkpoint, weights: Weights) -> tuple[int, str, bool]:
    """Output width, activation and whether there are biases."""
    width = (checkpoint.section("text_config") or {}).get("hidden_size")
    if width is None:  # the default of whichever language model: as wide as the projector that was made for it
        width = projector_width(weights)
    act = checkpoint.config.get("projector_hidden_act", "gelu")
    bias = checkpoint.config.get("multimodal_projector_bias", True)
    if not isinstance(act, str):
        raise ModelError(
            f"projector_hidden_act of '{checkpoint.id}' is {shown(act)}; the name of an activation is needed"
        )
    if not isinstance(bias, bool):
        raise ModelError(f"multimodal_projector_bias of '{checkpoint.id}' is {shown(bias)}; true or false is needed")
    return whole_number("hidden_size of the language model", width, WIDEST), act, bias
