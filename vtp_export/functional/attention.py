"""Attention without the n x n map: fused for the features, one row for the saliency."""

import torch
from torch import Tensor

from vtp_export.functional.precision import at_least_float32


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
