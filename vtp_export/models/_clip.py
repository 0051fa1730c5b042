"""The CLIP vision transformer, up to the layer that is read and not one further.

State-dict names are those of Hugging Face's `CLIPVisionModel`. Differences: layers past the last one read do not
exist; there is no post-layernorm, which the patch features never pass; attention is fused everywhere, and rows,
columns and keys of it are computed beside it in the one layer, and only when they are asked for.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vtp_export.errors import ModelError, shown
from vtp_export.functional.attention import attention_received, cls_attention
from vtp_export.functional.precision import at_least_float32


@dataclass(frozen=True, kw_only=True)
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


DEFAULTS: dict[str, Any] = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "image_size": 224,
    "patch_size": 32,
    "hidden_act": "quick_gelu",
    "layer_norm_eps": 1e-5,
    "num_channels": 3,
}
"""What Hugging Face's CLIPVisionConfig assumes for a key that config.json leaves out."""

LARGEST = {
    "hidden_size": 1 << 16,
    "intermediate_size": 1 << 18,
    "num_hidden_layers": 1 << 10,
    "num_attention_heads": 1 << 10,
    "image_size": 1 << 14,
    "patch_size": 1 << 14,
}
"""Tens of times what any tower has; a number beyond is a mistake, and nothing is built to find out."""


def clip_config(raw: dict[str, Any]) -> ClipConfig:
    """Read a `vision_config`.

    Raises:
        ModelError: a number that no tower can have, or an unknown activation.
    """
    known = ClipConfig.__dataclass_fields__
    config = ClipConfig(**{**DEFAULTS, **{key: value for key, value in raw.items() if key in known}})
    for name, largest in LARGEST.items():
        whole_number(f"{name} of the vision tower", getattr(config, name), largest)
    if config.num_channels != 3:
        channels = shown(config.num_channels)
        raise ModelError(f"the vision tower reads {channels} channels; only RGB towers (3) are supported")
    if config.hidden_size % config.num_attention_heads:
        raise ModelError(
            f"the vision tower's sizes do not divide: width {config.hidden_size} by {config.num_attention_heads} heads"
        )
    if config.patch_size > config.image_size:
        raise ModelError(
            f"the vision tower's patches of {config.patch_size} pixels are larger than its images of "
            f"{config.image_size}"
        )
    eps = config.layer_norm_eps
    if type(eps) not in (int, float) or not 0 <= eps < 1:
        raise ModelError(f"layer_norm_eps of the vision tower is {shown(eps)}; a number from 0 to 1 is needed")
    activation(config.hidden_act)
    return config


def whole_number(what: str, value: Any, largest: int) -> int:
    """Hold a number of a `config.json` to its bounds before anything is built of that size.

    Raises:
        ModelError: it is none, or not from 1 to `largest`.
    """
    if type(value) is not int or not 1 <= value <= largest:
        raise ModelError(f"{what} is {shown(value)}; a whole number from 1 to {largest} is needed")
    return value


def quick_gelu(x: Tensor) -> Tensor:
    """The sigmoid approximation of GELU that CLIP was trained with."""
    return x * torch.sigmoid(1.702 * x)


def activation(name: str) -> Any:
    """The activation function of that Hugging Face name.

    Raises:
        ModelError: not one that CLIP towers or LLaVA projectors use.
    """
    known = {"quick_gelu": quick_gelu, "gelu": F.gelu, "relu": F.relu, "silu": F.silu}
    if not isinstance(name, str) or name not in known:
        raise ModelError(f"activation {shown(name)} is not supported; supported: {', '.join(known)}")
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
            f"vision_feature_layer {shown(list(feature_layers))} does not name outputs of a tower of {total} layers; "
            f"use -1 to -{total}, or 1 to {total}"
        )
    return states


class ClipEmbeddings(nn.Module):
    """Patches, CLS and positions."""

    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        n_patches = (config.image_size // config.patch_size) ** 2  # what is left over at the right and bottom is unseen
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

    def forward(self, x: Tensor, readings: Collection[str]) -> tuple[Tensor, dict[str, Tensor]]:
        """(b, m, dv) to the same, and of "row" (b, m), "received" (b, m) and "keys" (b, m, dh) what is asked for."""
        query, key, value = self._split(self.q_proj(x)), self._split(self.k_proj(x)), self._split(self.v_proj(x))
        mixed = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        scale, read = self.head_width**-0.5, {}
        if "row" in readings:
            read["row"] = cls_attention(query[:, :, :1], key, scale)
        if "received" in readings:
            read["received"] = attention_received(query, key, scale)
        if "keys" in readings:
            read["keys"] = key.mean(1)
        return self.out_proj(mixed), read


class ClipMlp(nn.Module):
    """Two linear layers."""

    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        self.activation = activation(config.hidden_act)
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        """(b, m, dv) to the same."""
        hidden: Tensor = self.fc2(self.activation(at_least_float32(self.fc1(x))))
        return hidden


class ClipLayer(nn.Module):
    """A pre-norm transformer layer."""

    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        self.self_attn = ClipAttention(config.hidden_size, config.num_attention_heads)
        self.layer_norm1 = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)
        self.mlp = ClipMlp(config)
        self.layer_norm2 = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)

    def forward(self, x: Tensor, readings: Collection[str]) -> tuple[Tensor, dict[str, Tensor]]:
        """(b, m, dv) to the same, and what is asked for of `ClipAttention`'s readings."""
        mixed, read = self.self_attn(self.layer_norm1(x), readings)
        x = x + mixed
        return x + self.mlp(self.layer_norm2(x)), read


class ClipFollowing(nn.Module):
    """Norm, queries and keys of the layer after the last one that is read, as PruMerge looks at them: one wide head."""

    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.layer_norm1 = nn.LayerNorm(width, config.layer_norm_eps)
        self.self_attn = nn.ModuleDict({"q_proj": nn.Linear(width, width), "k_proj": nn.Linear(width, width)})

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(b, m, dv) to keys (b, m, dv) and the CLS row of attention (b, m)."""
        x = self.layer_norm1(x)
        query, key = self.self_attn["q_proj"](x[:, :1]), self.self_attn["k_proj"](x)
        return key, cls_attention(query[:, None], key[:, None], key.shape[-1] ** -0.5)


class ClipEncoder(nn.Module):
    """The layers, named as in the checkpoint."""

    def __init__(self, config: ClipConfig, depth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(ClipLayer(config) for _ in range(depth))


# Signal to what is read of a layer's attention, and of which layer: a share of the depth, or None for the deepest read.
READINGS: dict[str, tuple[str, float | None]] = {
    "saliency": ("row", None),
    "received": ("received", None),
    "keys": ("keys", None),
    "early_saliency": ("row", 1 / 4),
    "early_received": ("received", 3 / 8),
}
FOLLOWING = frozenset({"following_keys", "following_saliency"})


class ClipTower(nn.Module):
    """The tower, read at some of its hidden states.

    Args:
        config: sizes.
        states: hidden states to read, as `read_layers` gives them; several are concatenated by channel, and
            the attention read is that of the deepest.
        following: whether the `FOLLOWING` signals can be asked for.
    """

    def __init__(self, config: ClipConfig, states: Sequence[int], following: bool = False) -> None:
        super().__init__()
        self.config = config
        self.states = list(states)
        self.embeddings = ClipEmbeddings(config)
        self.pre_layrnorm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)
        self.encoder = ClipEncoder(config, max(states))
        self.following = ClipFollowing(config) if following else None

    def forward(self, pixel_values: Tensor, needs: Collection[str] = ()) -> tuple[Tensor, dict[str, Tensor]]:
        """(b, 3, h, w) to features (b, n + 1, dv x states), and the signals in `needs`, CLS first in each."""
        x = self.pre_layrnorm(self.embeddings(pixel_values))
        outputs: dict[int, Tensor] = {}
        signals: dict[str, Tensor] = {}
        for number, layer in enumerate(self.encoder.layers, start=1):
            wanted = {name: kind for name, kind in self._readings_of(number).items() if name in needs}
            x, read = layer(x, tuple(wanted.values()))
            outputs[number] = x
            signals |= {name: read[kind] for name, kind in wanted.items()}
        if self.following is not None and not FOLLOWING.isdisjoint(needs):
            signals["following_keys"], signals["following_saliency"] = self.following(x)
        features = torch.cat([outputs[state] for state in self.states], dim=-1) if len(self.states) > 1 else x
        return features, signals

    def _readings_of(self, number: int) -> dict[str, str]:
        """Signal to reading, of those that come from the layer of that number."""
        last, total = len(self.encoder.layers), self.config.num_hidden_layers
        layers = {
            name: last if share is None else min(last, max(1, round(share * total)))
            for name, (_, share) in READINGS.items()
        }
        return {name: READINGS[name][0] for name, layer in layers.items() if layer == number}
