"""Gemma 3 (`Gemma3ForConditionalGeneration`): SigLIP at 896, its last norm, 4 x 4 average pooling, a norm, a matrix.

4096 patches make 256 tokens. Selection acts on the tokens, after pooling: features are the means of 16 patches, and a
token's saliency is the mean of the attention that they receive in the last layer, over heads and queries.
Tokens are what stands beside the scaled text embeddings in the language model's input. Pan and scan, which cuts large
pictures into more views, is refused where the image processor asks for it; the released ones do not.
"""

import math
from collections.abc import Collection

from vtp_export.errors import ModelError, shown
from vtp_export.models._checkpoint import Checkpoint
from vtp_export.models._config import TowerConfig, whole_number
from vtp_export.models._loading import Parts, load_parts, shape_of
from vtp_export.models._projectors import NormAndMatrix
from vtp_export.models._towers import SIGLIP
from vtp_export.models._weights import Weights
from vtp_export.models.base import LoadedModel
from vtp_export.models.llava import WIDEST
from vtp_export.models.paligemma import read_siglip

TOKENS = 256
"""Of a picture, where config.json does not say."""


def load(checkpoint: Checkpoint, needs: Collection[str]) -> LoadedModel:
    """Load the tower and the projector of a Gemma 3; the language model is never read.

    Raises:
        ModelError: another tower than SigLIP, patches that do not make whole tokens, pan and scan, or missing parts.
    """
    config, weights = read_siglip(checkpoint, {}), Weights(checkpoint)
    width = (checkpoint.section("text_config") or {}).get("hidden_size")
    if width is None:
        width = shape_of(weights, NormAndMatrix, "mm_input_projection_weight")[-1]
    parts = Parts(
        family="gemma3",
        tower=SIGLIP,
        config=config,
        states=(config.num_hidden_layers,),
        normed=True,
        projector=NormAndMatrix(
            width=whole_number("hidden_size of the language model", width, WIDEST),
            pool=_pool(checkpoint, config),
            norm_eps=config.layer_norm_eps,
        ),
        processor="Gemma3ImageProcessor",
        prepared_as="Google's Gemma 3",
    )
    return load_parts(checkpoint, weights, parts, needs)


def _pool(checkpoint: Checkpoint, config: TowerConfig) -> int:
    """Patches along an edge of a token."""
    tokens = checkpoint.config.get("mm_tokens_per_image", TOKENS)
    whole_number(f"mm_tokens_per_image of '{checkpoint.id}'", tokens, config.side**2)
    side = math.isqrt(tokens)
    if side**2 != tokens or config.side % side:
        raise ModelError(
            f"mm_tokens_per_image of '{checkpoint.id}' is {shown(tokens)}, and the tower has {config.side} x "
            f"{config.side} patches; the square of a divisor of {config.side} is needed"
        )
    return config.side // side
