"""InternVL 3 and 3.5 (`InternVLForConditionalGeneration`): InternViT, four patches a token, a norm, two layers; tiles.

A picture is 1 to 12 tiles and, where they are several, the whole of it, which the language model reads last; each view
is pruned by itself. The 1024 patches of a view make 256 tokens: a token is 2 x 2 patches side by side. The saliency of
one is the mean of the attention that CLS pays to the four in the last layer. Only checkpoints in the layout of
Transformers, whose names end in -hf.
"""

from collections.abc import Collection

from vtp_export.errors import ModelError, shown
from vtp_export.models._checkpoint import Checkpoint
from vtp_export.models._config import TowerConfig, read_layers, truth
from vtp_export.models._internvit import INTERNVIT
from vtp_export.models._loading import Parts, load_parts
from vtp_export.models._projectors import ShuffledTwoLayers
from vtp_export.models._weights import Weights
from vtp_export.models.base import LoadedModel
from vtp_export.models.llava import language_width, projector_act


def load(checkpoint: Checkpoint, needs: Collection[str]) -> LoadedModel:
    """Load the tower and the projector of an InternVL; the language model is never read.

    Raises:
        ModelError: another tower than InternViT, CLS among the tokens, patches that do not make whole tokens, several
            layers to read, or missing parts.
    """
    weights, (config, mean_pooled) = Weights(checkpoint), _tower(checkpoint)
    layer = checkpoint.config.get("vision_feature_layer", -1)
    if isinstance(layer, list):
        raise ModelError(f"vision_feature_layer of '{checkpoint.id}' is {shown(layer)}; one layer is needed")
    strategy = checkpoint.config.get("vision_feature_select_strategy", "default")
    if strategy != "default":
        raise ModelError(
            f"vision_feature_select_strategy of '{checkpoint.id}' is {shown(strategy)}; 'default', which drops CLS, is "
            "needed: patches with CLS among them make no square"
        )
    parts = Parts(
        family="internvl",
        tower=INTERNVIT,
        config=config,
        states=read_layers(layer, config.num_hidden_layers),
        normed=layer == -1 and not mean_pooled,
        projector=ShuffledTwoLayers(
            width=language_width(checkpoint, weights),
            act=projector_act(checkpoint),
            norm_eps=1e-5,
            pool=_pool(checkpoint, config),
        ),
        processor=INTERNVIT.processor,
        filling="stretch",
        framing="picture",
    )
    return load_parts(checkpoint, weights, parts, needs)


def _tower(checkpoint: Checkpoint) -> tuple[TowerConfig, bool]:
    """What shapes the tower, and whether nothing follows its layers."""
    vision = checkpoint.section("vision_config") or {}
    kind = vision.get("model_type", "internvl_vision")
    if kind != "internvl_vision":
        raise ModelError(
            f"the vision tower of '{checkpoint.id}' is {shown(kind)}; supported in this model: internvl_vision"
        )
    pooled = truth("use_mean_pooling of the vision tower", vision.get("use_mean_pooling", True))
    return INTERNVIT.config(vision), pooled


def _pool(checkpoint: Checkpoint, config: TowerConfig) -> int:
    """Patches along an edge of a token."""
    ratio = checkpoint.config.get("downsample_ratio", 0.5)
    pools = [pool for pool in range(1, config.side + 1) if config.side % pool == 0 and 1 / pool == ratio]
    if not pools:
        raise ModelError(
            f"downsample_ratio of '{checkpoint.id}' is {shown(ratio)}, and the tower has {config.side} x {config.side} "
            f"patches; 1 divided by a divisor of {config.side} is needed"
        )
    return pools[0]
