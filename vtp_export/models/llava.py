"""LLaVA-1.5 (`LlavaForConditionalGeneration`) with a CLIP tower of any size and a two-layer projector."""

from vtp_export.errors import ModelError
from vtp_export.models._checkpoint import Checkpoint
from vtp_export.models._clip import clip_config, read_layers
from vtp_export.models._frontend import empty_frontend
from vtp_export.models._loading import filled
from vtp_export.models.base import LoadedModel

CLS_KEPT = {"default": False, "full": True}


def load(checkpoint: Checkpoint) -> LoadedModel:
    """Load the tower and the projector of a LLaVA; the language model is never read.

    Raises:
        ModelError: another tower than CLIP, an unknown `vision_feature_select_strategy`, or missing parts.
    """
    raw = checkpoint.config
    vision, text = raw.get("vision_config") or {}, raw.get("text_config") or {}
    kind = vision.get("model_type", "clip_vision_model")
    if kind != "clip_vision_model":
        raise ModelError(f"the vision tower of '{checkpoint.id}' is a {kind}; llava needs a clip_vision_model")
    config = clip_config(vision)
    strategy = raw.get("vision_feature_select_strategy", "default")
    if strategy not in CLS_KEPT:
        raise ModelError(
            f"vision_feature_select_strategy of '{checkpoint.id}' is '{strategy}'; supported: {', '.join(CLS_KEPT)}"
        )
    layers = raw.get("vision_feature_layer", -2)
    states = read_layers(layers if isinstance(layers, list) else [layers], config.num_hidden_layers)
    width = text.get("hidden_size", 4096)
    projector = (width, raw.get("projector_hidden_act", "gelu"), raw.get("multimodal_projector_bias", True))
    return filled(empty_frontend(config, states, CLS_KEPT[strategy], projector), checkpoint, "llava")
