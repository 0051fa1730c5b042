"""How long from a picture to the first token of the answer, as a table."""

from dataclasses import asdict, dataclass

from vtp_export.reports.table import Summary, Table

COLUMNS = (
    "what",
    "visual tokens",
    "front end ms",
    "prefill ms",
    "first token ms",
    "to the unpruned",
    "prefill TFLOP",
    "cache MB",
)


@dataclass(frozen=True, kw_only=True)
class FirstToken:
    """One front end with the language model behind it.

    tokens: visual ones, of one picture. front_end_ms: preprocessing, the front end and laying out the tokens.
    prefill_ms: the language model, from embeddings to the logits of the first new token. total_ms: both, the median of
    the sums. ratio: of the unpruned front end's total to this one's; None where nothing unpruned was timed.
    prefill_flops, cache_bytes: counted, see `costs.decoder`.
    """

    name: str
    tokens: int
    front_end_ms: float
    prefill_ms: float
    total_ms: float
    ratio: float | None
    prefill_flops: int
    cache_bytes: int


@dataclass(frozen=True, kw_only=True)
class FirstTokenReport:
    """All rows. decoder: its name. text: tokens of the prompt that are no picture. unpruned: the row of the ratios."""

    decoder: str
    text: int
    unpruned: str | None
    rows: tuple[FirstToken, ...]

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)


def first_token_summary(report: FirstTokenReport) -> Summary:
    """The table, and what it is to be read by."""
    rows = [
        (
            row.name,
            row.tokens,
            f"{row.front_end_ms:.0f}",
            f"{row.prefill_ms:.0f}",
            f"{row.total_ms:.0f}",
            None
            if row.ratio is None
            else f"{row.ratio:.1f}x sooner"
            if row.ratio > 1
            else f"{1 / row.ratio:.1f}x later",
            f"{row.prefill_flops / 1e12:.3g}",
            f"{row.cache_bytes / 1e6:.3g}",
        )
        for row in report.rows
    ]
    title = f"picture to first token, {report.decoder}, {report.text} tokens of text"
    sentences = [] if report.unpruned else ["note: nothing unpruned was timed; name it with --against MODEL"]
    return Table(title, COLUMNS, rows), *sentences
