"""InternViT, InternVL's tower, as Transformers 5.23 (`models/internvl`) has it: a CLIP with scaled halves of layers."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from vtp_export.errors import ModelError, shown
from vtp_export.models._config import TowerConfig, checked, truth
from vtp_export.models._towers import TowerFamily, dinov2_fitted, edge_of
from vtp_export.models._weights import released_name

DEFAULTS: dict[str, Any] = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "image_size": 448,
    "patch_size": 14,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-6,
}
"""What Hugging Face's InternVLVisionConfig assumes for a key that config.json leaves out."""

NORMS = {"layer_norm": False, "rms_norm": True}

NAMES = (
    ("embeddings.class_embedding", "embeddings.cls_token"),
    ("embeddings.patch_embedding.", "embeddings.patch_embeddings.projection."),
    ("embeddings.position_embedding.weight", "embeddings.position_embeddings"),
    ("encoder.layers.", "encoder.layer."),
    (".layer_norm1.", ".layernorm_before."),
    (".layer_norm2.", ".layernorm_after."),
    (".self_attn.out_proj.", ".attention.projection_layer."),
    (".self_attn.", ".attention."),
    (".layer_scale1.lambda1", ".lambda_1"),
    (".layer_scale2.lambda1", ".lambda_2"),
    ("post_layernorm.", "layernorm."),
)
"""Parts of our names, and of those of released checkpoints in the layout of Transformers."""


def internvit_config(raw: Mapping[str, Any]) -> TowerConfig:
    """Of an `InternVLVisionConfig`.

    Raises:
        ModelError: as `checked`; edges that are not square; an unknown norm; a tower without learned positions.
    """
    raw = {**raw, **{name: edge_of(name, raw[name]) for name in ("image_size", "patch_size") if name in raw}}
    norm = raw.get("norm_type", "layer_norm")
    if norm not in list(NORMS):  # a list, because what cannot be hashed may stand there too
        raise ModelError(f"norm_type of the vision tower is {shown(norm)}; supported: {', '.join(NORMS)}")
    positions = "use_absolute_position_embeddings"
    if not truth(f"{positions} of the vision tower", raw.get(positions, True)):
        raise ModelError(f"{positions} of the vision tower is false; only towers with learned positions are supported")
    return TowerConfig(
        **checked(raw, DEFAULTS),
        patch_bias=True,
        pre_norm=False,
        qkv_bias=truth("attention_bias of the vision tower", raw.get("attention_bias", False)),
        layer_scale=True,
        rms_norm=NORMS[norm],
        qk_norm=truth("use_qk_norm of the vision tower", raw.get("use_qk_norm", False)),
    )


def internvit_name(name: str) -> str:
    """Of a tensor in the checkpoint.

    Example:
        >>> internvit_name("encoder.layers.3.self_attn.out_proj.bias")
        'encoder.layer.3.attention.projection_layer.bias'
    """
    return released_name(name, NAMES)


def internvit_fitted(name: str, tensor: Tensor, config: TowerConfig) -> Tensor:
    """The leading axes of length 1 dropped."""
    return dinov2_fitted(name, tensor, config, antialias=False)


INTERNVIT = TowerFamily(
    what="InternViT tower",
    mark="embeddings.cls_token",
    config=internvit_config,
    own_name=internvit_name,
    fitted=internvit_fitted,
    prepared_as="OpenGVLab's InternVL",
    processor="GotOcr2ImageProcessor",
)
