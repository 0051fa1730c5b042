"""What `compare` found, as records."""

from dataclasses import dataclass

from vtp_export.parity.judged import Gate, Judged
from vtp_export.reports.costs import Cost


@dataclass(frozen=True, kw_only=True)
class Row:
    """One method at one budget.

    kept: mean number of tokens; of a method inside the language model, of those that one of its layers processes.
    booked: of such a method the same as its release counts it, which is the budget that its tables name; else None.
    share: of the unpruned score. interval: 95 %, of the difference to the unpruned score; None of one image.
    p_value: of McNemar's exact test on the questions that only one of the two got right. p_permuted: of the difference
    of the main metric, by exchanging the answers about images. metrics: all of the benchmark's.
    swapped: the main metric where the same questions are asked about another image; None where that was not tried.
    erank: mean effective rank of the kept tokens, not centred (paper, Table 1). entropy: mean entropy, in nats, of CLS
    attention among the kept tokens. Both None of a method inside the language model, which has no tokens of its own.
    by_bin: the main metric in each quarter of the images, simplest first.
    """

    method: str
    keep: int
    kept: float
    booked: float | None = None
    score: float
    share: float
    interval: tuple[float, float] | None
    p_value: float
    p_permuted: float
    metrics: dict[str, float]
    swapped: float | None
    erank: float | None
    entropy: float | None
    by_bin: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class BenchmarkReport:
    """All rows of one benchmark, the unpruned model first.

    counted: how many of the questions the main metric is about. left_out: what could not be used, a sentence each.
    edges: effective rank of the images between the bins, lowest and highest included. bins: images in each.
    correlation: of the images' effective rank and attention entropy.
    """

    benchmark: str
    images: int
    questions: int
    counted: int
    left_out: tuple[str, ...]
    metric: str
    rows: tuple[Row, ...]
    edges: tuple[float, ...]
    bins: tuple[int, ...]
    correlation: float


@dataclass(frozen=True, kw_only=True)
class Standing:
    """One method over all benchmarks.

    scores: of the columns, as papers print them. relative: see `reports.standings.relative`.
    printed, printed_relative: what the paper has, None where it is asked for no table.
    """

    method: str
    keep: int
    kept: float
    scores: tuple[float, ...]
    relative: float | None
    printed: tuple[float, ...] | None
    printed_relative: float | None


@dataclass(frozen=True, kw_only=True)
class CompareReport(Judged):
    """Methods on one benchmark or several.

    columns: of the standings. costs: of each method, where the language model's sizes are known. notes: what
    is to be known of them, a sentence each.
    at_least: share of the unpruned score that every method must keep at every budget, on every benchmark; None where
    none was asked.
    """

    model: str
    benchmarks: tuple[BenchmarkReport, ...]
    columns: tuple[str, ...]
    standings: tuple[Standing, ...]
    costs: tuple[Cost, ...] = ()
    notes: tuple[str, ...] = ()
    at_least: float | None = None

    @property
    def gates(self) -> tuple[tuple[str, Gate], ...]:
        """What is asked of each method at each budget, by the name of both, and of the benchmark among several."""
        asked = "none was asked (--at-least)" if self.at_least is None else f"at least {self.at_least:.1%}"
        gates = []
        for one in self.benchmarks:
            where = f" on {one.benchmark}" if len(self.benchmarks) > 1 else ""
            for row in one.rows[1:]:
                found, short = f"{row.share:.1%} ({row.score:.4f})", not row.share >= (self.at_least or 0.0)
                told = f"keeps {row.share:.1%} of the unpruned {one.metric}, {asked} was asked"
                gate = Gate(f"share of the unpruned {one.metric}", found, asked, (told,) if short else ())
                gates.append((f"{row.method} at {row.kept:.4g} tokens{where}", gate))
        return tuple(gates)

    @property
    def failures(self) -> tuple[str, ...]:
        """A sentence for each method that keeps less than was asked."""
        return tuple(f"{name}: {failure}" for name, gate in self.gates for failure in gate.failures)
