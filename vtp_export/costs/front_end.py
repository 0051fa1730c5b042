"""What a front end costs, counted in a real pass: floating-point operations of tower, pruner and projector."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from vtp_export.graphs.eager import EagerSession


@dataclass(frozen=True)
class FrontEndFlops:
    """Operations in products of matrices, two a multiply-add.

    projector: of what is kept, or of all, for methods that choose among projected tokens.
    """

    tower: int
    pruner: int
    projector: int

    @property
    def total(self) -> int:
        """Of all three."""
        return self.tower + self.pruner + self.projector


def front_end_flops(session: EagerSession, pixels: np.ndarray) -> FrontEndFlops:
    """Count one pass.

    Args:
        session: of the graph.
        pixels: (b, 3, h, w) float32; methods that keep more of a complex image cost more there.
    """
    with torch.inference_mode(), _counter() as counter:
        session.graph(torch.from_numpy(pixels).to(session.device, session.dtype))
    counts = {name: sum(of.values()) for name, of in counter.get_flop_counts().items()}
    whole = type(session.graph).__name__
    tower, pruner = (counts.get(f"{whole}.{part}", 0) for part in ("frontend.tower", "pruner"))
    return FrontEndFlops(tower, pruner, counts[whole] - tower - pruner)


def _counter() -> FlopCounterMode:
    """That also knows the attention of the CPU, which torch's own leaves out."""
    mapping = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention}
    return FlopCounterMode(display=False, custom_mapping=mapping)


def _attention(query: Any, key: Any, value: Any, *rest: Any, **others: Any) -> int:
    """Of shapes (b, heads, n, d), (b, heads, m, d) and (b, heads, m, e)."""
    batch, heads, n, d = query
    return int(2 * batch * heads * n * key[2] * (d + value[3]))
