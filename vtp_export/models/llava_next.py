"""LLaVA-NeXT (`LlavaNextForConditionalGeneration`): a LLaVA that sees a picture as a whole and in tiles.

Each view is a picture to the graph, and is pruned by itself; `runtime.packing` joins them as the language model reads
them.
"""

from collections.abc import Collection, Mapping
from typing import Any

from vtp_export.errors import ModelError, SpecError
from vtp_export.models._checkpoint import CONFIG, Checkpoint
from vtp_export.models._config import read_layers
from vtp_export.models._loading import Parts, load_parts
from vtp_export.models._projectors import TwoLayers
from vtp_export.models._towers import CLIP, SIGLIP
from vtp_export.models._weights import Weights
from vtp_export.models.base import LoadedModel
from vtp_export.models.llava import VISION, cls_kept, language_width, projector_act, projector_bias, read_tower
from vtp_export.runtime.pinpoints import NEXT_PINPOINTS, pinpoints_of


def load(checkpoint: Checkpoint, needs: Collection[str]) -> LoadedModel:
    """Load the tower, the projector and the newline vector of a LLaVA-NeXT; the language model is never read.

    Raises:
        ModelError: a tower of another kind, CLS among the tokens, pinpoints that tiles cannot be cut from, or missing
            parts.
    """
    weights = Weights(checkpoint)
    parts = tiled_parts(
        checkpoint, weights, VISION, family="llava_next", layer=-2, strategy="default", pinpoints=NEXT_PINPOINTS
    )
    return load_parts(checkpoint, weights, parts, needs)


def tiled_parts(  # noqa: PLR0913 (what Transformers takes where a file is silent)
    checkpoint: Checkpoint,
    weights: Weights,
    vision: Mapping[str, Any],
    *,
    family: str,
    layer: int,
    strategy: str,
    pinpoints: tuple[tuple[int, int], ...],
) -> Parts:
    """What LLaVA-NeXT and LLaVA-OneVision have in common.

    Args:
        checkpoint: whose.
        weights: its tensors.
        vision: the `vision_config` where there is none.
        family: of the model.
        layer: `vision_feature_layer` where none is named.
        strategy: `vision_feature_select_strategy` where none is named.
        pinpoints: `image_grid_pinpoints` where none are named.

    Raises:
        ModelError: as `load`.
    """
    raw = checkpoint.config
    tower, config = read_tower(checkpoint, vision)
    if tower not in (CLIP, SIGLIP):
        raise ModelError(
            f"the vision tower of '{checkpoint.id}' is a {tower.what}; {family} needs a {CLIP.what} or a {SIGLIP.what}"
        )
    if cls_kept(checkpoint, config, strategy):
        raise ModelError(
            f"vision_feature_select_strategy of '{checkpoint.id}' is 'full', which keeps CLS among the tokens, and "
            "tiles with CLS cannot be joined to a picture; 'default' is what such towers need"
        )
    layers = raw.get("vision_feature_layer", layer)
    return Parts(
        family=family,
        tower=tower,
        config=config,
        states=read_layers(layers, config.num_hidden_layers),
        projector=TwoLayers(
            width=language_width(checkpoint, weights), act=projector_act(checkpoint), bias=projector_bias(checkpoint)
        ),
        processor="LlavaNextImageProcessor",
        filling="fit",
        pinpoints=_pinpoints(checkpoint, config.image_size, pinpoints),
    )


def _pinpoints(
    checkpoint: Checkpoint, image_size: int, assumed: tuple[tuple[int, int], ...]
) -> tuple[tuple[int, int], ...]:
    """The canvases that tiles are cut from.

    Raises:
        ModelError: none that tiles of this size can be cut from.
    """
    written = checkpoint.config.get("image_grid_pinpoints")
    missing = " names none, and Transformers' own do not fit:" if written is None else " cannot be used:"
    try:
        return pinpoints_of(assumed if written is None else written, image_size)
    except SpecError as error:
        raise ModelError(f"{CONFIG} of '{checkpoint.id}'{missing} {error}") from error
