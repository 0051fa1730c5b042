"""Attention beside the fused kernel: one row for the saliency, column means for the attention received."""

import torch
from torch import Tensor

from vtp_export.functional.precision import at_least_float32
from vtp_export.functional.sizes import static_size


def cls_attention(query: Tensor, key: Tensor, scale: float) -> Tensor:
    """Attention weights of one query token, mean over heads.

    Args:
        query: (b, heads, 1, dh) the CLS query.
        key: (b, heads, m, dh) keys of all tokens, CLS included.
        scale: factor on the logits, usually dh ** -0.5.

    Returns:
        (b, m) in at least float32, each row summing to 1.
    """
    logits = at_least_float32(query * scale) @ at_least_float32(key).transpose(-1, -2)  # (b, heads, 1, m)
    return logits.softmax(-1).mean(1).squeeze(1)


def attention_received(query: Tensor, key: Tensor, scale: float) -> Tensor:
    """Attention that each token receives, mean over heads and queries.

    Needs every weight of the map. One head at a time, so that the memory is that of one (m, m) map and not of all.

    Args:
        query: (b, heads, m, dh), CLS included.
        key: (b, heads, m, dh).
        scale: factor on the logits, usually dh ** -0.5.

    Returns:
        (b, m) in at least float32, each row summing to 1.
    """
    total = torch.zeros_like(at_least_float32(key[:, 0, :, 0]))
    for head in range(static_size(query, 1)):
        logits = at_least_float32(query[:, head] * scale) @ at_least_float32(key[:, head]).transpose(-1, -2)
        total = total + logits.softmax(-1).mean(-2)
    return total / static_size(query, 1)


def attention_and_received(query: Tensor, key: Tensor, value: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """Attention, and what each token receives of it, from the same weights: no second product of queries and keys.

    One head at a time, as `attention_received`.

    Args:
        query: (b, heads, m, dh).
        key: (b, heads, m, dh).
        value: (b, heads, m, dh).
        scale: factor on the logits, usually dh ** -0.5.

    Returns:
        (b, heads, m, dh) and (b, m), both in at least float32.
    """
    count = static_size(query, 2)
    total = torch.zeros_like(at_least_float32(key[:, 0, :, :1].transpose(-1, -2)))  # (b, 1, m)
    each = torch.full((1, count), 1 / count, dtype=total.dtype, device=total.device)  # a product, not a sum of columns
    mixed = []
    for head in range(static_size(query, 1)):
        logits = at_least_float32(query[:, head] * scale) @ at_least_float32(key[:, head]).transpose(-1, -2)
        weights = logits.softmax(-1)
        mixed.append(weights @ at_least_float32(value[:, head]))
        total = total + each @ weights
    return torch.stack(mixed, dim=1), total.squeeze(1) / static_size(query, 1)


def attention_entropy(saliency: Tensor) -> Tensor:
    """Shannon entropy of the attention that falls on the candidates (paper, eq. 1-2).

    Args:
        saliency: (b, n) non-negative; renormalised here to sum to 1.

    Returns:
        (b,) nats, between 0 and ln n. A weight of 0 contributes 0; a row of zeros gives ln n's limit 0.

    Example:
        >>> round(attention_entropy(torch.ones(1, 4)).item(), 4)
        1.3863
    """
    tiny = torch.finfo(saliency.dtype).tiny
    share = saliency / saliency.sum(-1, keepdim=True).clamp(min=tiny)
    return -(share * share.clamp(min=tiny).log()).sum(-1)
