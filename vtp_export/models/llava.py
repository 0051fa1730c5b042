"""LLaVA-1.5 (`LlavaForConditionalGeneration`): a CLIP, SigLIP or DINOv2 tower of any size, a two-layer projector."""

from collections.abc import Collection, Mapping
from typing import Any

from vtp_export.errors import ModelError, shown
from vtp_export.models._checkpoint import Checkpoint
from vtp_export.models._config import TowerConfig, activation, read_layers, truth, whole_number
from vtp_export.models._loading import Parts, load_parts, shape_of
from vtp_export.models._projectors import TwoLayers
from vtp_export.models._towers import CLIP, TOWERS, TowerFamily
from vtp_export.models._weights import Weights
from vtp_export.models.base import LoadedModel

CLS_KEPT = {"default": False, "full": True}

VISION = {
    "model_type": "clip_vision_model",
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
        ModelError: a tower of another kind, an unknown `vision_feature_select_strategy`, or missing parts.
    """
    raw = checkpoint.config
    weights = Weights(checkpoint)
    tower, config = read_tower(checkpoint)
    layers = raw.get("vision_feature_layer", -2)
    parts = Parts(
        family="llava",
        tower=tower,
        config=config,
        states=read_layers(layers, config.num_hidden_layers),
        keep_cls=cls_kept(checkpoint, config),
        projector=TwoLayers(
            width=language_width(checkpoint, weights),
            act=projector_act(checkpoint),
            bias=projector_bias(checkpoint),
        ),
        processor="LlavaImageProcessor",
        published=tower is CLIP,
    )
    return load_parts(checkpoint, weights, parts, needs)


def read_tower(checkpoint: Checkpoint, assumed: Mapping[str, Any] = VISION) -> tuple[TowerFamily, TowerConfig]:
    """The kind of tower that `vision_config` describes, and what shapes it.

    Args:
        checkpoint: whose.
        assumed: what Transformers takes where there is none.

    Raises:
        ModelError: none that is known, or one whose registers would count as tokens of the picture.
    """
    written = checkpoint.section("vision_config")
    vision = assumed if written is None else written
    kind = vision.get("model_type", assumed["model_type"])
    known = [name for name in TOWERS if name != "dinov2_with_registers"]
    if kind not in known:
        raise ModelError(
            f"the vision tower of '{checkpoint.id}' is {shown(kind)}; supported in this model: {', '.join(known)}"
        )
    return TOWERS[kind], TOWERS[kind].config(vision)


def language_width(checkpoint: Checkpoint, weights: Weights) -> int:
    """Channels of the language model.

    Raises:
        ModelError: a number that no model can have.
    """
    width = (checkpoint.section("text_config") or {}).get("hidden_size")
    if width is None:  # the default of whichever language model: as wide as the projector that was made for it
        width = shape_of(weights, TwoLayers, "linear_2.weight")[0]
    return whole_number("hidden_size of the language model", width, WIDEST)


def projector_act(checkpoint: Checkpoint) -> str:
    """Name of the projector's activation.

    Raises:
        ModelError: no name, or that of an unknown one.
    """
    act = checkpoint.config.get("projector_hidden_act", "gelu")
    if not isinstance(act, str):
        raise ModelError(
            f"projector_hidden_act of '{checkpoint.id}' is {shown(act)}; the name of an activation is needed"
        )
    activation(act)
    return act


def projector_bias(checkpoint: Checkpoint) -> bool:
    """Whether the projector's layers have one.

    Raises:
        ModelError: neither true nor false.
    """
    bias = checkpoint.config.get("multimodal_projector_bias", True)
    return truth(f"multimodal_projector_bias of '{checkpoint.id}'", bias)


def cls_kept(checkpoint: Checkpoint, config: TowerConfig, assumed: str = "default") -> bool:
    """Whether CLS is among the tokens of a picture.

    Args:
        checkpoint: whose.
        config: of its tower.
        assumed: the strategy where none is named.

    Raises:
        ModelError: an unknown strategy, or one that drops a patch.
    """
    strategy = checkpoint.config.get("vision_feature_select_strategy", assumed)
    if strategy not in list(CLS_KEPT):  # a list, because what cannot be hashed may stand there too
        raise ModelError(
            f"vision_feature_select_strategy of '{checkpoint.id}' is {shown(strategy)}; "
            f"supported: {', '.join(CLS_KEPT)}"
        )
    if not config.cls and not CLS_KEPT[strategy]:
        raise ModelError(
            f"vision_feature_select_strategy of '{checkpoint.id}' is 'default', which drops the first token, and "
            "its tower has no CLS token: a patch would be lost; 'full' is what such towers need"
        )
    return config.cls and CLS_KEPT[strategy]
