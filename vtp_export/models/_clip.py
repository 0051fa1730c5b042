"""The CLIP vision transformer, up to the layer that is read and not one further.

State-dict names are those of Hugging Face's `CLIPVisionModel`. Differences: layers past the last one read do not
exist; there is no post-layernorm, which the patch features never pass; attention is fused everywhere, and the
row of CLS is computed beside it in one layer, and only when it is asked for.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vtp_export.errors import ModelError
from vtp_export.functional.attention import cls_attention


@dataclass(frozen=True)
class ClipConfig:
    """The numbers of `vision_config` that shape the tower."""

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    image_size: int
    patch_size: int
    hidden_act: str = "quick_gelu"
    layer_norm_eps: float = 1e-5
    num_channels: int = 3


# What Hugging Face's CLIPVisionConfig assumes for a key that config.json leaves out.
DEFAULTS = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "image_size": 224,
    "patch_size": 32,
}


def clip_config(raw: dict[str, Any]) -> ClipConfig:
    """Read a `vision_config`.

    Raises:
        ModelError: a number that no tower can have, or an unknown activation.
    """
    known = ClipConfig.__dataclass_fields__
    config = ClipConfig(**{**DEFAULTS, **{key: value for key, value in raw.items() if key in known}})
    for name in DEFAULTS:
        value = getattr(config, name)
        if type(value) is not int or value < 1:
            raise ModelError(f"{name} of the vision tower is {value!r}; a whole number from 1 is needed")
    if config.num_channels != 3:
        raise ModelError(f"the vision tower reads {config.num_channels} channels; only RGB towers (3) are supported")
    if config.hidden_size % config.num_attention_heads or config.image_size % config.patch_size:
        raise ModelError(
            f"the vision tower's sizes do not divide: width {config.hidden_size} by "
            f"{config.num_attention_heads} heads, image {config.image_size} by patch {config.patch_size}"
        )
    activation(config.hidden_act)
    return config


def quick_gelu(x: Tensor) -> Tensor:
    """The sigmoid approximation of GELU that CLIP was trained with."""
    return x * torch.sigmoid(1.702 * x)


def activation(name: str) -> Any:
    """The activation function of that Hugging Face name.

    Raises:
        ModelError: not one that CLIP towers or LLaVA projectors use.
    """
    known = {"quick_gelu": quick_gelu, "gelu": F.gelu, "relu": F.relu, "silu": F.silu}
    if name not in known:
        raise ModelError(f"activation '{name}' is not supported; supported: {', '.join(known)}")
    return known[name]


def read_layers(feature_layers: Sequence[int], total: int) -> list[int]:
    """Which hidden states `vision_feature_layer` means: 0 is the embedding, i the output of layer i - 1.

    Raises:
        ModelError: a layer that the tower does not have.
    """
    whole = all(type(layer) is int for layer in feature_layers)
    states = [layer + total + 1 if layer < 0 else layer for layer in feature_layers] if whole else []
    if not states or not all(0 < state <= total for state in states):
        raise ModelError(
            f"vision_feature_layer {list(feature_layers)} does not name outputs of a tower of {total} layers; "
            f"use -1 to -{total}, or 1 to {total}"
        )
    return states


class ClipEmbeddings(nn.Module):
    """Patches, CLS and positions."""

    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        n_patches = (config.image_size // config.patch_size) ** 2
        self.class_embedding = nn.Parameter(torch.empty(config.hidden_size))
        self.patch_embedding = nn.Conv2d(3, config.hidden_size, config.patch_size, config.patch_size, bias=False)
        self.position_embedding = nn.Embedding(n_patches + 1, config.hidden_size)

    def forward(self, pixel_values: Tensor) -> Tensor:
        """(b, 3, h, w) to (b, n + 1, dv), CLS first."""
        patches = self.patch_embedding(pixel_values).flatten(2).transpose(1, 2)  # (b, n, dv)
        cls = self.class_embedding.expand(patches.shape[0], 1, -1)
        return torch.cat([cls, patches], dim=1) + self.position_embedding.weight


class ClipAttention(nn.Module):
    """Multi-head self-attention, fused."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.head_width = heads, width // heads
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)

    def _split(self, x: Tensor) -> Tensor:
        heads: Tensor = x.unflatten(-1, (self.heads, self.head_width))
        return heads.transpose(1, 2)  # (b, heads, m, dh)

    def forward(self, x: Tensor, with_saliency: bool) -> tuple[Tensor, Tensor | None]:
        """(b, m, dv) to the same, and the CLS row of attention (b, m) where asked for."""
        query, key, value = self._split(self.q_proj(x)), self._split(self.k_proj(x)), self._split(self.v_proj(x))
        mixed = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        saliency = cls_attention(query[:, :, :1], key, self.head_width**-0.5) if with_saliency else None
        return self.out_proj(mixed), saliency


class ClipMlp(nn.Module):
    """Two linear layers."""

    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        self.activation = activation(config.hidden_act)
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        """(b, m, dv) to the same."""
        hidden: Tensor = self.fc2(self.activation(self.fc1(x)))
        return hidden


class ClipLayer(nn.Module):
    """A pre-norm transformer layer."""

    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        self.self_attn = ClipAttention(config.hidden_size, config.num_attention_heads)
        self.layer_norm1 = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)
        self.mlp = ClipMlp(config)
        self.layer_norm2 = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)

    def forward(self, x: Tensor, with_saliency: bool) -> tuple[Tensor, Tensor | None]:
        """(b, m, dv) to the same, and the CLS row of attention (b, m) where asked for."""
        mixed, saliency = self.self_attn(self.layer_norm1(x), with_saliency)
        x = x + mixed
        return x + self.mlp(self.layer_norm2(x)), saliency


class ClipEncoder(nn.Module):
    """The layers, named as in the checkpoint."""

    def __init__(self, config: ClipConfig, depth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(ClipLayer(config) for _ in range(depth))


class ClipTower(nn.Module):
    """The tower, read at some of its hidden states.

    Args:
        config: sizes.
        states: hidden states to read, as `read_layers` gives them; several are concatenated by channel, and
            the saliency is that of the deepest.
    """

    def __init__(self, config: ClipConfig, states: Sequence[int]) -> None:
        super().__init__()
        self.states = list(states)
        self.embeddings = ClipEmbeddings(config)
        self.pre_layrnorm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)
        self.encoder = ClipEncoder(config, max(states))

    def forward(self, pixel_values: Tensor, with_saliency: bool) -> tuple[Tensor, Tensor | None]:
        """(b, 3, h, w) to features (b, n + 1, dv x states) and the CLS row (b, n + 1) or None."""
        x = self.pre_layrnorm(self.embeddings(pixel_values))
        outputs, saliency = {}, None
        last = len(self.encoder.layers)
        for number, layer in enumerate(self.encoder.layers, start=1):
            x, row = layer(x, with_saliency and number == last)
            outputs[number] = x
            saliency = row if row is not None else saliency
        features = torch.cat([outputs[state] for state in self.states], dim=-1) if len(self.states) > 1 else x
        return features, saliency
