"""What each method of a comparison costs, as a table: the columns of the paper's Table 9, and what they leave out."""

from collections.abc import Sequence
from dataclasses import dataclass

from vtp_export.reports.table import Table

COLUMNS = (
    "method",
    "tokens in",
    "tower GFLOP",
    "pruner",
    "projector",
    "language model",
    "as papers count",
    "front end ms",
    "prefill ms",
    "first token ms",
    "cache MB",
    "peak GB",
)


@dataclass(frozen=True, kw_only=True)
class Cost:
    """One method at one budget, one picture and one question.

    tokens: of text and picture that a layer of the language model reads, the mean over its layers.
    tower_flops, pruner_flops, projector_flops: counted in a pass, two operations a multiply-add.
    prefill_flops: of the language model, by formula, and published_flops as papers count it, see `costs.decoder`.
    front_end_ms, prefill_ms: medians; preprocessing is in neither. first_token_ms: the median of their sums.
    cache_bytes: of keys and values after the prefill. peak_bytes: most memory during it, all weights included: the
    process's on a CPU, the device's on a GPU; None where the system does not tell.
    """

    method: str
    tokens: float
    tower_flops: int
    pruner_flops: int
    projector_flops: int
    prefill_flops: int
    published_flops: int
    front_end_ms: float
    prefill_ms: float
    first_token_ms: float
    cache_bytes: int
    peak_bytes: int | None


COSTS = (
    "cost: in GFLOP, two operations a multiply-add, of products of matrices, the language model's prefill by formula; "
    "'as papers count' is its multiply-adds with two matrices of the feed-forward network, as in the paper's Table 9; "
    "milliseconds: medians, without preprocessing; peak: of the process, or of the GPU, weights included"
)


def cost_table(costs: Sequence[Cost]) -> Table:
    """A row for each method at each budget."""
    rows = [
        (
            one.method,
            f"{one.tokens:.4g}",
            *(
                f"{flops / 1e9:.4g}"
                for flops in (
                    one.tower_flops,
                    one.pruner_flops,
                    one.projector_flops,
                    one.prefill_flops,
                    one.published_flops,
                )
            ),
            f"{one.front_end_ms:.1f}",
            f"{one.prefill_ms:.1f}",
            f"{one.first_token_ms:.1f}",
            f"{one.cache_bytes / 1e6:.3g}",
            None if one.peak_bytes is None else f"{one.peak_bytes / 1e9:.2f}",
        )
        for one in costs
    ]
    return Table("cost of a picture and a question", COLUMNS, rows)
