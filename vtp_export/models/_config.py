"""The numbers of a `vision_config` that shape a tower, held to bounds before anything is built of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from vtp_export.errors import ModelError, shown

LARGEST = {
    "hidden_size": 1 << 16,
    "intermediate_size": 1 << 18,
    "num_hidden_layers": 1 << 10,
    "num_attention_heads": 1 << 10,
    "image_size": 1 << 14,
    "patch_size": 1 << 14,
}
"""Tens of times what any tower has; a number beyond is a mistake, and nothing is built to find out."""


def quick_gelu(x: Tensor) -> Tensor:
    """The sigmoid approximation of GELU that CLIP was trained with."""
    return x * torch.sigmoid(1.702 * x)


def tanh_gelu(x: Tensor) -> Tensor:
    """The approximation of GELU that SigLIP was trained with."""
    return F.gelu(x, approximate="tanh")


ACTIVATIONS = {
    "quick_gelu": quick_gelu,
    "gelu": F.gelu,
    "gelu_pytorch_tanh": tanh_gelu,
    "relu": F.relu,
    "silu": F.silu,
}
"""By their Hugging Face names: what towers and projectors use."""


@dataclass(frozen=True, kw_only=True)
class TowerConfig:
    """What shapes a pre-norm vision transformer.

    hidden_size, intermediate_size, num_hidden_layers, num_attention_heads, hidden_act, layer_norm_eps: as in
        `vision_config`; intermediate_size is that of the gate where the MLP is gated.
    image_size, patch_size: edges in pixels; what is left over at the right and bottom is unseen.
    cls: whether a class token stands before the patches; registers: how many more tokens stand between.
    patch_bias: whether the patch embedding has a bias. pre_norm: whether a norm follows the embeddings.
    qkv_bias: whether queries, keys and values have one. layer_scale: whether each half of a layer is scaled by channel.
    gated: whether the MLP is SiLU-gated. rms_norm: whether the norms of a layer are by the root mean square.
    qk_norm: whether queries and keys are normed so, all heads together.
    """

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    image_size: int
    patch_size: int
    hidden_act: str = "quick_gelu"
    layer_norm_eps: float = 1e-5
    cls: bool = True
    registers: int = 0
    patch_bias: bool = False
    pre_norm: bool = True
    qkv_bias: bool = True
    layer_scale: bool = False
    gated: bool = False
    rms_norm: bool = False
    qk_norm: bool = False

    @property
    def side(self) -> int:
        """Patches along an edge."""
        return self.image_size // self.patch_size

    @property
    def before(self) -> int:
        """Tokens that stand before the patches."""
        return int(self.cls) + self.registers


def checked(raw: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of a `vision_config` that `defaults` names, or what Hugging Face assumes where it has none.

    Raises:
        ModelError: a number that no tower can have, or an unknown activation.
    """
    values = {key: raw.get(key, default) for key, default in defaults.items()}
    for name in [name for name in LARGEST if name in values]:
        whole_number(f"{name} of the vision tower", values[name], LARGEST[name])
    if raw.get("num_channels", 3) != 3:
        channels = shown(raw["num_channels"])
        raise ModelError(f"the vision tower reads {channels} channels; only RGB towers (3) are supported")
    width, heads = values["hidden_size"], values["num_attention_heads"]
    if width % heads:
        raise ModelError(f"the vision tower's sizes do not divide: width {width} by {heads} heads")
    if values["patch_size"] > values["image_size"]:
        raise ModelError(
            f"the vision tower's patches of {values['patch_size']} pixels are larger than its images of "
            f"{values['image_size']}"
        )
    eps = values["layer_norm_eps"]
    if type(eps) not in (int, float) or not 0 <= eps < 1:
        raise ModelError(f"layer_norm_eps of the vision tower is {shown(eps)}; a number from 0 to 1 is needed")
    activation(values["hidden_act"])
    return values


def whole_number(what: str, value: Any, largest: int) -> int:
    """Hold a number of a `config.json` to its bounds before anything is built of that size.

    Raises:
        ModelError: it is none, or not from 1 to `largest`.
    """
    if type(value) is not int or not 1 <= value <= largest:
        raise ModelError(f"{what} is {shown(value)}; a whole number from 1 to {largest} is needed")
    return value


def truth(what: str, value: Any) -> bool:
    """Hold a switch of a `config.json` to true or false.

    Raises:
        ModelError: it is neither.
    """
    if not isinstance(value, bool):
        raise ModelError(f"{what} is {shown(value)}; true or false is needed")
    return value


def activation(name: str) -> Any:
    """The activation function of that Hugging Face name.

    Raises:
        ModelError: not one that towers or projectors use.
    """
    if not isinstance(name, str) or name not in ACTIVATIONS:
        raise ModelError(f"activation {shown(name)} is not supported; supported: {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]


def read_layers(named: Any, total: int) -> list[int]:
    """Which hidden states `vision_feature_layer` means: 0 is the embedding, i the output of layer i - 1.

    Args:
        named: one, or a list of them.
        total: layers of the tower.

    Raises:
        ModelError: a layer that the tower does not have.
    """
    feature_layers = named if isinstance(named, list) else [named]
    whole = all(type(layer) is int for layer in feature_layers)
    states = [layer + total + 1 if layer < 0 else layer for layer in feature_layers] if whole else []
    if not states or not all(0 < state <= total for state in states):
        raise ModelError(
            f"vision_feature_layer {shown(feature_layers)} does not name outputs of a tower of {total} layers; "
            f"use -1 to -{total}, or 1 to {total}"
        )
    return states
