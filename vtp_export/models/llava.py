"""LLaVA-1.5 (`LlavaForConditionalGeneration`) with a CLIP tower of any size and a two-layer projector."""

from collections.abc import Collection

from vtp_export.errors import ModelError
from vtp_export.models._checkpoint import Checkpoint
from vtp_export.models._clip import clip_config, read_layers
from vtp_export.models._frontend import empty_frontend
from vtp_export.models._loading import filled
from vtp_export.models.base import LoadedModel

CLS_KEPT = {"default": False, "full": True}


def load(checkpoint: Checkpoint, needs: Collection[str]) -> LoadedModel:
    """Load the tower and the projector of a LLaVA; the language model is never read.

    Raises:
        ModelError: another tower than CLIP, an unknown `vision_feature_select_strategy`, or missing parts.
    """
    raw, vision = checkpoint.config, checkpoint.section("vision_config")
    kind = vision.get("model_type", "clip_vision_model")
    if kind != "clip_vision_model":
        raise ModelError(f"the vision tower of '{checkpoint.id}' is a {kind}; llava needs a clip_vision_model")
    config = clip_config(vision)
    strategy = raw.get("vision_feature_select_strategy", "default")
    if strategy not in list(CLS_KEPT):  # a list, because what cannot be hashed may stand there too
        raise ModelError(
            f"vision_feature_select_strategy of '{checkpoint.id}' is '{strategy}'; supported: {', '.join(CLS_KEPT)}"
        )
    layers = raw.get("vision_feature_layer", -2)
    states = read_layers(layers if isinstance(layers, list) else [layers], config.num_hidden_layers)
    empty = empty_frontend(config, states, CLS_KEPT[strategy], _projector(checkpoint), needs)
    return filled(empty, checkpoint, "llava")


def _projector(checkpoint: Checkpoint) -> tuple[int, str, bool]:
    """Output width, activation and whether there are biases."""
    width = checkpoint.section("text_config").get("hidden_size", 4096)
    act = checkpoint.config.get("projector_hidden_act", "gelu")
    bias = checkpoint.config.get("multimodal_projector_bias", True)
    if type(width) is not int or width < 1:
        raise ModelError(f"hidden_size of the language model is {width!r}; a whole number from 1 is needed")
    if not isinstance(act, str):
        raise ModelError(f"projector_hidden_act of '{checkpoint.id}' is {act!r}; the name of an activation is needed")
    if not isinstance(bias, bool):
        raise ModelError(f"multimodal_projector_bias of '{checkpoint.id}' is {bias!r}; true or false is needed")
    return width, act, bias
