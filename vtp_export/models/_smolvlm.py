"""What SmolVLM and Idefics3 have in common: SigLIP, its last norm, a pixel shuffle, one matrix; tiles.

A picture is grown until its long edge has `size.longest_edge` pixels, and cut into tiles; the whole of it is read last.
A token is 3 x 3 or 4 x 4 patches side by side, and selection acts on tokens. There is no CLS token: the saliency of a
token is the mean of the attention that its patches receive in the last layer, over heads and queries.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from vtp_export.errors import ModelError, shown
from vtp_export.models._checkpoint import Checkpoint
from vtp_export.models._config import TowerConfig, checked, whole_number
from vtp_export.models._loading import Parts, load_parts, shape_of
from vtp_export.models._projectors import ShuffledMatrix
from vtp_export.models._towers import SIGLIP
from vtp_export.models._weights import Weights
from vtp_export.models.base import LoadedModel
from vtp_export.models.llava import WIDEST

DEFAULTS: dict[str, Any] = {
    "hidden_size": 1152,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 16,
    "image_size": 224,
    "patch_size": 32,
    "hidden_act": "gelu_pytorch_tanh",
    "layer_norm_eps": 1e-6,
}
"""What Hugging Face's SmolVLMVisionConfig and Idefics3VisionConfig assume for a key that config.json leaves out."""

KINDS = ("smolvlm_vision", "idefics3_vision", "smolvlm", "idefics3")
"""What the tower is called in released checkpoints."""


def smolvlm_config(raw: Mapping[str, Any]) -> TowerConfig:
    """Of a `SmolVLMVisionConfig` or an `Idefics3VisionConfig`."""
    return TowerConfig(**checked(raw, DEFAULTS), cls=False, patch_bias=True, pre_norm=False)


def smolvlm_fitted(name: str, tensor: Tensor, config: TowerConfig) -> Tensor:
    """A patch takes the position at its share of the edge, rounded as Transformers 5.23 rounds it.

    So at some sizes, such as 19 or 25 patches along an edge, two patches share a position, and one is never used.
    """
    side = config.side
    if not name.endswith("position_embedding.weight") or tensor.dim() != 2 or len(tensor) != side**2:
        return tensor
    shares = (torch.arange(side, dtype=torch.float32) * (1.0 / torch.tensor(side))).clamp(max=1 - 1e-6)
    places = torch.bucketize(shares, torch.arange(1 / side, 1.0, 1 / side), right=True)
    return tensor[(places[:, None] * side + places).flatten()]


TOWER = replace(SIGLIP, config=smolvlm_config, fitted=smolvlm_fitted, prepared_as="HuggingFaceTB's SmolVLM")


def load_smolvlm(checkpoint: Checkpoint, needs: Collection[str], *, family: str, processor: str) -> LoadedModel:
    """Load the tower and the matrix after it; the language model is never read.

    Args:
        checkpoint: where.
        needs: signals that it must be able to give.
        family: of the model.
        processor: the image processor that Transformers takes where no file names one.

    Raises:
        ModelError: another tower, patches that do not make whole tokens, or missing parts.
    """
    vision, weights = checkpoint.section("vision_config") or {}, Weights(checkpoint)
    kind = vision.get("model_type", KINDS[0])
    if kind not in list(KINDS):  # a list, because what cannot be hashed may stand there too
        raise ModelError(
            f"the vision tower of '{checkpoint.id}' is {shown(kind)}; supported in this model: {', '.join(KINDS)}"
        )
    config = smolvlm_config(vision)
    width = (checkpoint.section("text_config") or {}).get("hidden_size")
    if width is None:  # the default of whichever language model: as wide as the matrix that was made for it
        width = shape_of(weights, ShuffledMatrix, "proj.weight")[0]
    parts = Parts(
        family=family,
        tower=TOWER,
        config=config,
        states=(config.num_hidden_layers,),
        normed=True,
        projector=ShuffledMatrix(
            width=whole_number("hidden_size of the language model", width, WIDEST), pool=_pool(checkpoint, config)
        ),
        processor=processor,
        filling="grow",
        framing="tiles",
    )
    return load_parts(checkpoint, weights, parts, needs)


def _pool(checkpoint: Checkpoint, config: TowerConfig) -> int:
    """Patches along an edge of a token."""
    pool = whole_number(f"scale_factor of '{checkpoint.id}'", checkpoint.config.get("scale_factor", 2), config.side)
    if config.side % pool:
        raise ModelError(
            f"scale_factor of '{checkpoint.id}' is {pool}, and the tower has {config.side} x {config.side} patches; a "
            f"divisor of {config.side} is needed"
        )
    return pool
