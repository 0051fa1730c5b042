"""The families of towers: how each is described in a `vision_config`, and how its tensors are named and shaped.

Facts of Transformers 5.23 (`models/clip`, `siglip`, `siglip2`, `dinov2`, `dinov2_with_registers`) and of published
checkpoints.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from vtp_export.errors import ModelError, shown
from vtp_export.models._config import LARGEST, TowerConfig, checked, truth, whole_number
from vtp_export.models._weights import released_name


@dataclass(frozen=True, kw_only=True)
class TowerFamily:
    """What towers of one `model_type` have in common.

    what: for messages. mark: how the name of a tensor ends that each of them has, and no other part of a model.
    config: from a `vision_config` to what shapes the tower, at the image size that it was trained with.
    own_name: from a name in our tower to that in the checkpoint, less its prefix.
    fitted: from a tensor of the checkpoint, by our name, to what our tower has in its place.
    any_size: whether it takes images of another size than it was trained with, its positions being interpolated.
    prepared_as: whose preprocessing its images get where no file says; see `usual_preprocessing`.
    processor: the image processor that Transformers takes for the bare tower where no file names one.
    """

    what: str
    mark: str
    config: Callable[[Mapping[str, Any]], TowerConfig]
    own_name: Callable[[str], str] = str
    fitted: Callable[[str, Tensor, TowerConfig], Tensor] = lambda name, tensor, config: tensor
    any_size: bool = False
    prepared_as: str
    processor: str


CLIP_DEFAULTS: dict[str, Any] = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "image_size": 224,
    "patch_size": 32,
    "hidden_act": "quick_gelu",
    "layer_norm_eps": 1e-5,
}
"""What Hugging Face's CLIPVisionConfig assumes for a key that config.json leaves out."""

SIGLIP_DEFAULTS = {**CLIP_DEFAULTS, "patch_size": 16, "hidden_act": "gelu_pytorch_tanh", "layer_norm_eps": 1e-6}
"""Likewise SiglipVisionConfig."""

SIGLIP2_PATCHES = 256
"""Likewise Siglip2VisionConfig: the learned positions, a square of them."""

DINOV2_DEFAULTS = {
    **{key: CLIP_DEFAULTS[key] for key in ("hidden_size", "num_hidden_layers", "num_attention_heads", "image_size")},
    "patch_size": 14,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-6,
}
"""Likewise Dinov2Config, less the sizes of its MLP."""


def clip_config(raw: Mapping[str, Any]) -> TowerConfig:
    """Of a `CLIPVisionConfig`."""
    return TowerConfig(**checked(raw, CLIP_DEFAULTS))


def siglip_config(raw: Mapping[str, Any]) -> TowerConfig:
    """Of a `SiglipVisionConfig`: no class token, no norm before the layers."""
    return TowerConfig(**checked(raw, SIGLIP_DEFAULTS), cls=False, patch_bias=True, pre_norm=False)


def siglip2_config(raw: Mapping[str, Any]) -> TowerConfig:
    """Of a `Siglip2VisionConfig`, at the square of patches that it has positions for.

    Raises:
        ModelError: as `checked`; edges that are not square; positions that are no square.
    """
    patches = whole_number("num_patches of the vision tower", raw.get("num_patches", SIGLIP2_PATCHES), 1 << 20)
    side, patch = math.isqrt(patches), edge_of("patch_size", raw.get("patch_size", SIGLIP_DEFAULTS["patch_size"]))
    if side**2 != patches:
        raise ModelError(f"num_patches of the vision tower is {patches}; the square of a whole number is needed")
    whole_number("patch_size of the vision tower", patch, LARGEST["patch_size"] // side)
    return siglip_config({**raw, "patch_size": patch, "image_size": side * patch})


def dinov2_config(raw: Mapping[str, Any], registers: bool) -> TowerConfig:
    """Of a `Dinov2Config` or a `Dinov2WithRegistersConfig`.

    Raises:
        ModelError: as `checked`; edges that are not square; an MLP that is no multiple of the width.
    """
    raw = {**raw, **{name: edge_of(name, raw[name]) for name in ("image_size", "patch_size") if name in raw}}
    values = checked(raw, {**DINOV2_DEFAULTS, "patch_size": 16 if registers else 14})
    width, ratio = values["hidden_size"], raw.get("mlp_ratio", 4)
    wide = int(width * ratio) if type(ratio) in (int, float) and 0 < ratio <= 64 else 0
    if wide < 1:
        raise ModelError(f"mlp_ratio of the vision tower is {shown(ratio)}; a number above 0 and up to 64 is needed")
    gated = truth("use_swiglu_ffn of the vision tower", raw.get("use_swiglu_ffn", False))
    return TowerConfig(
        **values,
        intermediate_size=(int(wide * 2 / 3) + 7) // 8 * 8 if gated else wide,
        registers=whole_number("num_register_tokens of the vision tower", raw.get("num_register_tokens", 4), 64)
        if registers
        else 0,
        patch_bias=True,
        pre_norm=False,
        qkv_bias=truth("qkv_bias of the vision tower", raw.get("qkv_bias", True)),
        layer_scale=True,
        gated=gated,
    )


def edge_of(name: str, value: Any) -> Any:
    """Of a square that may be written as a pair."""
    if not isinstance(value, list):
        return value
    if len(value) != 2 or value[0] != value[1]:
        raise ModelError(f"{name} of the vision tower is {shown(value)}; a square is needed")
    return value[0]


DINOV2_NAMES = (
    ("embeddings.class_embedding", "embeddings.cls_token"),
    ("embeddings.patch_embedding.", "embeddings.patch_embeddings.projection."),
    ("embeddings.position_embedding.weight", "embeddings.position_embeddings"),
    ("encoder.layers.", "encoder.layer."),
    (".layer_norm", ".norm"),
    (".self_attn.q_proj", ".attention.attention.query"),
    (".self_attn.k_proj", ".attention.attention.key"),
    (".self_attn.v_proj", ".attention.attention.value"),
    (".self_attn.out_proj", ".attention.output.dense"),
    ("post_layernorm.", "layernorm."),
)
"""Parts of our names, and of the released ones, which Transformers 5 still writes."""


def dinov2_name(name: str) -> str:
    """Of a tensor in the checkpoint.

    Example:
        >>> dinov2_name("encoder.layers.3.self_attn.q_proj.bias")
        'encoder.layer.3.attention.attention.query.bias'
    """
    return released_name(name, DINOV2_NAMES)


def siglip2_fitted(name: str, tensor: Tensor, config: TowerConfig) -> Tensor:
    """A linear layer on flattened patches is a convolution; positions are interpolated to the grid."""
    width, patch = config.hidden_size, config.patch_size
    if name.endswith("patch_embedding.weight") and tensor.shape == (width, patch * patch * 3):
        return tensor.reshape(width, patch, patch, 3).permute(0, 3, 1, 2)
    if name.endswith("position_embedding.weight"):
        return interpolated(tensor, config.side, mode="bilinear", antialias=True)
    return tensor


def dinov2_fitted(name: str, tensor: Tensor, config: TowerConfig, antialias: bool) -> Tensor:
    """The leading axes of length 1 dropped, positions of the patches interpolated."""
    if name.endswith("class_embedding"):
        return tensor.flatten() if tensor.shape[:-1] == (1, 1) else tensor
    if name.endswith(("register_tokens", "position_embedding.weight")) and tensor.dim() == 3 and len(tensor) == 1:
        tensor = tensor[0]
        if name.endswith("position_embedding.weight"):
            patches = interpolated(tensor[1:], config.side, mode="bicubic", antialias=antialias)
            return torch.cat([tensor[:1].to(patches.dtype), patches])
    return tensor


def interpolated(positions: Tensor, side: int, mode: str, antialias: bool) -> Tensor:
    """Learned positions of a square of patches at another size, in float32 as Transformers does it.

    Args:
        positions: (s * s, dv).
        side: patches along the edge that is wanted.
        mode: "bicubic" or "bilinear", as the family's own code does it.
        antialias: likewise.

    Returns:
        (side * side, dv).

    Raises:
        ModelError: the patches are no square, or the positions no table.
    """
    if positions.dim() != 2:
        raise ModelError(f"the tower's positions have shape {list(positions.shape)}; one row for each patch is needed")
    trained = math.isqrt(len(positions))
    if trained == 0 or trained**2 != len(positions):
        raise ModelError(f"the tower has positions for {len(positions)} patches, which are no square")
    if trained == side:
        return positions
    square = positions.float().reshape(1, trained, trained, -1).permute(0, 3, 1, 2)
    resized = F.interpolate(square, (side, side), mode=mode, align_corners=False, antialias=antialias)
    return resized.permute(0, 2, 3, 1).reshape(side * side, -1)


CLIP = TowerFamily(
    what="CLIP vision tower",
    mark="embeddings.class_embedding",
    config=clip_config,
    prepared_as="OpenAI's CLIP",
    processor="CLIPImageProcessor",
)
SIGLIP = TowerFamily(
    what="SigLIP vision tower",
    mark="embeddings.patch_embedding.weight",
    config=siglip_config,
    prepared_as="Google's SigLIP",
    processor="SiglipImageProcessor",
)
SIGLIP2 = TowerFamily(
    what="SigLIP 2 vision tower",
    mark="embeddings.patch_embedding.weight",
    config=siglip2_config,
    fitted=siglip2_fitted,
    any_size=True,
    prepared_as="Google's SigLIP 2",
    processor="Siglip2ImageProcessor",
)
DINOV2 = TowerFamily(
    what="DINOv2 tower",
    mark="embeddings.cls_token",
    config=functools.partial(dinov2_config, registers=False),
    own_name=dinov2_name,
    fitted=functools.partial(dinov2_fitted, antialias=False),
    any_size=True,
    prepared_as="Meta's DINOv2",
    processor="BitImageProcessor",
)
DINOV2_WITH_REGISTERS = dataclasses.replace(
    DINOV2,
    what="DINOv2 tower with registers",
    mark="embeddings.register_tokens",
    config=functools.partial(dinov2_config, registers=True),
    fitted=functools.partial(dinov2_fitted, antialias=True),
)

TOWERS = {
    "clip_vision_model": CLIP,
    "siglip_vision_model": SIGLIP,
    "dinov2": DINOV2,
    "dinov2_with_registers": DINOV2_WITH_REGISTERS,
}
"""By the `model_type` of a `vision_config`."""
