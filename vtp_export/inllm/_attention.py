"""Rows of a decoder layer's attention, made anew from what the layer reads, and orders by them.

Fast kernels return no weights, and eager attention of a whole prompt is thousands of rows where one is needed.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vtp_export.functional.precision import at_least_float32

Rotation = tuple[Tensor, Tensor]
"""Cosine and sine of rotary positions, each (tokens, channels of a head)."""


@dataclass(frozen=True, kw_only=True)
class Attention:
    """Of the layer that ranks, what the raters give the visual tokens.

    weights: (heads, raters, visual), softmax over all that a rater may look at. raters, visual: their rotations.
    """

    weights: Tensor
    raters: Rotation
    visual: Rotation


def attention_rows(layer: Any, states: Tensor, rotation: Rotation, rows: Tensor) -> Tensor:
    """(heads, rows, m): softmax of some tokens' attention over themselves and all before them, float32 at least.

    Args:
        layer: of a Llama, Mistral or Qwen as Transformers has them, where queries may share keys.
        states: (m, d) hidden states that it reads.
        rotation: of all m tokens.
        rows: (rows,) int64 which tokens.
    """
    attention, (cos, sin) = layer.self_attn, (at_least_float32(part) for part in rotation)
    normed = layer.input_layernorm(states)
    queries = _turned(_heads(attention, "q", normed[rows]), cos[rows], sin[rows])
    keys = _turned(_heads(attention, "k", normed), cos, sin)
    keys = keys.repeat_interleave(len(queries) // len(keys), dim=0)
    logits = queries @ keys.transpose(-1, -2) * attention.scaling
    later = torch.arange(len(states), device=rows.device) > rows[:, None]
    weights: Tensor = logits.masked_fill(later, -torch.inf).softmax(-1)
    return weights


def _heads(attention: Any, kind: str, normed: Tensor) -> Tensor:
    """(heads, m, channels of a head): queries or keys before rotation; some models norm them."""
    parts = getattr(attention, f"{kind}_proj")(normed).unflatten(-1, (-1, attention.head_dim))
    norm = getattr(attention, f"{kind}_norm", None)
    return at_least_float32(parts if norm is None else norm(parts)).transpose(0, 1)


def _turned(vectors: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary positions: channel i and channel i + half are a pair."""
    first, second = vectors.chunk(2, dim=-1)
    return vectors * cos + torch.cat([-second, first], dim=-1) * sin


def order(scores: Tensor) -> Tensor:
    """Indices by descending score, the lowest first where several are equal.

    Example:
        >>> order(torch.tensor([1.0, 3.0, 3.0])).tolist()
        [1, 2, 0]
    """
    return torch.argsort(at_least_float32(scores), descending=True, stable=True)
