"""A pre-norm vision transformer, up to the layer that is read and not one further.

State-dict names are those of Hugging Face's `CLIPVisionModel` and `SiglipVisionModel`; other families are renamed as
they are read. Layers past the last one read do not exist; attention is fused everywhere, and rows, columns and keys of
it are computed beside it in the one layer, and only when they are asked for.
"""

from collections.abc import Collection, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vtp_export.functional.attention import attention_received, cls_attention
from vtp_export.functional.precision import at_least_float32
from vtp_export.models._config import TowerConfig, activation
from vtp_export.models._norms import RmsNorm

QK_EPS = 1e-6
"""Of the norms of queries and keys, whatever that of the others is."""


class Embeddings(nn.Module):
    """Patches and positions, with a class token and registers before them where the tower has them."""

    def __init__(self, config: TowerConfig) -> None:
        super().__init__()
        width, patch = config.hidden_size, config.patch_size
        if config.cls:
            self.class_embedding = nn.Parameter(torch.empty(width))
        if config.registers:
            self.register_tokens = nn.Parameter(torch.empty(config.registers, width))
        self.patch_embedding = nn.Conv2d(3, width, patch, patch, bias=config.patch_bias)
        self.position_embedding = nn.Embedding(config.side**2 + config.cls, width)
        self.config = config

    def forward(self, pixel_values: Tensor) -> Tensor:
        """(b, 3, h, w) to (b, m, dv): the class token, the registers, which have no position, the patches."""
        patches: Tensor = self.patch_embedding(pixel_values).flatten(2).transpose(1, 2)  # (b, n, dv)
        if not self.config.cls:
            return patches + self.position_embedding.weight
        batch = patches.shape[0]
        cls = self.class_embedding.expand(batch, 1, -1)
        if not self.config.registers:
            return torch.cat([cls, patches], dim=1) + self.position_embedding.weight
        positions: Tensor = self.position_embedding.weight
        registers = self.register_tokens.expand(batch, -1, -1)
        return torch.cat([cls + positions[:1], registers, patches + positions[1:]], dim=1)


class Attention(nn.Module):
    """Multi-head self-attention, fused."""

    def __init__(self, config: TowerConfig) -> None:
        super().__init__()
        width, heads, bias = config.hidden_size, config.num_attention_heads, config.qkv_bias
        self.heads, self.head_width = heads, width // heads
        self.q_proj = nn.Linear(width, width, bias=bias)
        self.k_proj = nn.Linear(width, width, bias=bias)
        self.v_proj = nn.Linear(width, width, bias=bias)
        self.out_proj = nn.Linear(width, width)
        self.q_norm = RmsNorm(width, QK_EPS) if config.qk_norm else None
        self.k_norm = RmsNorm(width, QK_EPS) if config.qk_norm else None

    def _split(self, x: Tensor) -> Tensor:
        heads: Tensor = x.unflatten(-1, (self.heads, self.head_width))
        return heads.transpose(1, 2)  # (b, heads, m, dh)

    def forward(self, x: Tensor, readings: Collection[str]) -> tuple[Tensor, dict[str, Tensor]]:
        """(b, m, dv) to the same, and of "row" (b, m), "received" (b, m) and "keys" (b, m, dh) what is asked for."""
        query, key, value = self.q_proj(x), self.k_proj(x), self.v_proj(x)
        if self.q_norm is not None and self.k_norm is not None:
            query, key, value = self.q_norm(query), self.k_norm(key), at_least_float32(value)
        query, key, value = self._split(query), self._split(key), self._split(value)
        mixed = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        scale, read = self.head_width**-0.5, {}
        if "row" in readings:
            read["row"] = cls_attention(query[:, :, :1], key, scale)
        if "received" in readings:
            read["received"] = attention_received(query, key, scale)
        if "keys" in readings:
            read["keys"] = key.mean(1)
        return self.out_proj(mixed), read


class Mlp(nn.Module):
    """Two linear layers."""

    def __init__(self, config: TowerConfig) -> None:
        super().__init__()
        self.activation = activation(config.hidden_act)
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        """(b, m, dv) to the same."""
        hidden: Tensor = self.fc2(self.activation(at_least_float32(self.fc1(x))))
        return hidden


class GatedMlp(nn.Module):
    """One linear layer to a gate and what it gates, side by side, and one back."""

    def __init__(self, config: TowerConfig) -> None:
        super().__init__()
        self.weights_in = nn.Linear(config.hidden_size, 2 * config.intermediate_size)
        self.weights_out = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        """(b, m, dv) to the same."""
        gate, wide = self.weights_in(x).chunk(2, dim=-1)
        hidden: Tensor = self.weights_out(F.silu(at_least_float32(gate)) * wide)
        return hidden


class LayerScale(nn.Module):
    """A factor of each channel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.lambda1 = nn.Parameter(torch.empty(width))

    def forward(self, x: Tensor) -> Tensor:
        """(b, m, dv) to the same."""
        return x * self.lambda1


def layer_norm(config: TowerConfig) -> nn.Module:
    """The norm before each half of a layer."""
    width, eps = config.hidden_size, config.layer_norm_eps
    return RmsNorm(width, eps) if config.rms_norm else nn.LayerNorm(width, eps)


class Layer(nn.Module):
    """A pre-norm transformer layer."""

    def __init__(self, config: TowerConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.self_attn = Attention(config)
        self.layer_norm1 = layer_norm(config)
        self.mlp = GatedMlp(config) if config.gated else Mlp(config)
        self.layer_norm2 = layer_norm(config)
        self.layer_scale1 = LayerScale(width) if config.layer_scale else None
        self.layer_scale2 = LayerScale(width) if config.layer_scale else None

    def forward(self, x: Tensor, readings: Collection[str]) -> tuple[Tensor, dict[str, Tensor]]:
        """(b, m, dv) to the same, and what is asked for of `Attention`'s readings."""
        mixed, read = self.self_attn(self.layer_norm1(x), readings)
        x = x + (mixed if self.layer_scale1 is None else self.layer_scale1(mixed))
        wide = self.mlp(self.layer_norm2(x))
        return x + (wide if self.layer_scale2 is None else self.layer_scale2(wide)), read


class Following(nn.Module):
    """Norm, queries and keys of the layer after the last one that is read, as PruMerge looks at them: one wide head."""

    def __init__(self, config: TowerConfig) -> None:
        super().__init__()
        width, bias = config.hidden_size, config.qkv_bias
        self.layer_norm1 = layer_norm(config)
        self.self_attn = nn.ModuleDict({name: nn.Linear(width, width, bias=bias) for name in ("q_proj", "k_proj")})
        if config.qk_norm:
            self.self_attn.update({name: RmsNorm(width, QK_EPS) for name in ("q_norm", "k_norm")})
        self.normed = config.qk_norm

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(b, m, dv) to keys (b, m, dv) and the CLS row of attention (b, m)."""
        x = self.layer_norm1(x)
        query, key = self.self_attn["q_proj"](x[:, :1]), self.self_attn["k_proj"](x)
        if self.normed:
            query, key = self.self_attn["q_norm"](query), self.self_attn["k_norm"](key)
        return key, cls_attention(query[:, None], key[:, None], key.shape[-1] ** -0.5)


class Encoder(nn.Module):
    """The layers, named as in the checkpoint."""

    def __init__(self, config: TowerConfig, depth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(config) for _ in range(depth))


# Signal to what is read of a layer's attention, and of which layer: a share of the depth, or None for the deepest read.
READINGS: dict[str, tuple[str, float | None]] = {
    "saliency": ("row", None),
    "received": ("received", None),
    "keys": ("keys", None),
    "early_saliency": ("row", 1 / 4),
    "early_received": ("received", 3 / 8),
}
FOLLOWING = frozenset({"following_keys", "following_saliency"})


class Tower(nn.Module):
    """The tower, read at some of its hidden states.

    Where it has no class token, the attention that a token receives stands for what CLS would pay to it.

    Args:
        config: sizes.
        states: hidden states to read, as `read_layers` gives them; several are concatenated by channel, and
            the attention read is that of the deepest.
        normed: whether the one state that is read, the last, goes through the norm that follows the layers.
        following: whether the `FOLLOWING` signals can be asked for.
    """

    def __init__(self, config: TowerConfig, states: Sequence[int], normed: bool, following: bool) -> None:
        super().__init__()
        self.config = config
        self.states = list(states)
        self.embeddings = Embeddings(config)
        width, eps = config.hidden_size, config.layer_norm_eps
        self.pre_layrnorm = nn.LayerNorm(width, eps) if config.pre_norm else None
        self.encoder = Encoder(config, max(states))
        self.post_layernorm = nn.LayerNorm(width, eps) if normed else None
        self.following = Following(config) if following else None

    def forward(self, pixel_values: Tensor, needs: Collection[str] = ()) -> tuple[Tensor, dict[str, Tensor]]:
        """(b, 3, h, w) to features (b, m, dv x states), and the signals in `needs`, of all m tokens each."""
        x = self.embeddings(pixel_values)
        x = x if self.pre_layrnorm is None else self.pre_layrnorm(x)
        outputs: dict[int, Tensor] = {}
        signals: dict[str, Tensor] = {}
        for number, layer in enumerate(self.encoder.layers, start=1):
            wanted = {name: kind for name, kind in self._readings_of(number).items() if name in needs}
            x, read = layer(x, tuple(wanted.values()))
            outputs[number] = x
            signals |= {name: read[kind] for name, kind in wanted.items()}
        if self.following is not None and not FOLLOWING.isdisjoint(needs):
            signals["following_keys"], signals["following_saliency"] = self.following(x)
        if self.post_layernorm is not None:
            return self.post_layernorm(x), signals
        features = torch.cat([outputs[state] for state in self.states], dim=-1) if len(self.states) > 1 else x
        return features, signals

    def _readings_of(self, number: int) -> dict[str, str]:
        """Signal to reading, of those that come from the layer of that number."""
        last, total = len(self.encoder.layers), self.config.num_hidden_layers
        readings = {}
        for name, (reading, share) in READINGS.items():
            layer = last if share is None else min(last, max(1, round(share * total)))
            if layer == number:
                readings[name] = "received" if reading == "row" and not self.config.cls else reading
        return readings
