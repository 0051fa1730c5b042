"""Effective rank of token features from their Gram matrix, by matrix products alone.

Sources: Roy & Vetterli 2007; AgilePruner eq. 3 and 7. No runtime has a portable eigenvalue operator, so the two
sums over singular values are integrals of the heat trace tr(I - exp(-t C)), taken by the trapezoid rule in ln t.
"""

import math

import torch
from torch import Tensor

from vtp_export.functional.sizes import static_size

_DOUBLINGS = 27
_T0 = 0.125
_PSI_HALF = -1.9635100260214235


def effective_rank(gram: Tensor, centred: bool) -> Tensor:
    """Exponential of the Shannon entropy of the normalised singular values behind a Gram matrix.

    Args:
        gram: (b, m, m) symmetric positive semi-definite, float32 or float64.
        centred: the rows of every Gram matrix sum to zero.

    Returns:
        (b,) in [1, m], in the dtype of `gram`; exactly 1 where `gram` is zero.

    Example:
        >>> round(effective_rank(torch.eye(4)[None], centred=False).item(), 3)
        4.0
    """
    m = static_size(gram, -1)
    eye = torch.eye(m, dtype=gram.dtype, device=gram.device)
    if centred:
        gram = gram - gram.mean(-1, keepdim=True)
        gram = gram - gram.mean(-2, keepdim=True)
    gram = gram / gram.abs().amax((-2, -1), keepdim=True).clamp_min(1e-30)
    c = gram / (gram * gram).sum((-2, -1), keepdim=True).sqrt().clamp_min(1e-30)
    y = c * _T0
    y2 = y @ y
    y3 = y2 @ y
    f = y - y2 / 2 + y3 / 6 - (y2 @ y2) / 24 + (y2 @ y3) / 120
    traces = [(y * eye).sum((-2, -1)), (y * y).sum((-2, -1)), (y2 * y).sum((-2, -1))]
    traces.append((f * eye).sum((-2, -1)))
    for _ in range(_DOUBLINGS - 1):
        f = (2 * f - f @ f).clamp(-1.0, 1.0)
        traces.append((f * eye).sum((-2, -1)))
    traces.append(2 * traces[-1] - (f * f).sum((-2, -1)))
    weights = _weights()
    total = torch.stack([w * trace for (w, _), trace in zip(weights, traces, strict=True)]).sum(0)
    logs = torch.stack([v * trace for (_, v), trace in zip(weights, traces, strict=True)]).sum(0)
    safe = torch.where(total > 0, total, torch.ones_like(total))
    log_rank = torch.where(total > 0, safe.log() - 0.5 * logs / safe, torch.zeros_like(total))
    return log_rank.clamp(0.0, math.log(m)).exp()


def _weights() -> list[list[float]]:
    c = math.log(2) / (2 * math.sqrt(math.pi))
    lower = []
    for power, factor in ((1, 1.0), (2, -0.5), (3, 1 / 6)):
        r = 2.0 ** -(power - 0.5)
        g0 = r / (1 - r)
        g1 = r / (1 - r) ** 2
        scale = _T0**-0.5 * factor
        lower.append((scale * g0, scale * (math.log(_T0) * g0 - math.log(2) * g1)))
    nodes = []
    for k in range(_DOUBLINGS + 1):
        t = _T0 * 2.0**k
        w, v = t**-0.5, t**-0.5 * math.log(t)
        if k == _DOUBLINGS:
            r = 2.0**-0.5
            g0, g1 = 1 / (1 - r), r / (1 - r) ** 2
            v = w * (math.log(t) * g0 + math.log(2) * g1)
            w = w * g0
        nodes.append((w, v))
    return [[c * w, -c * v + (_PSI_HALF + 2) * c * w] for w, v in lower + nodes]
