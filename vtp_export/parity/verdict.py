"""What validation found, as data, and when it is good enough."""

import dataclasses
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from vtp_export.parity.answers import AnswerComparison
from vtp_export.parity.gates import GATES, Gates
from vtp_export.parity.judged import Claims, Gate, Judged, Row, at_least, at_most, failures_of, with_verdicts
from vtp_export.parity.parts import Bisection
from vtp_export.parity.preprocessing import PixelComparison
from vtp_export.parity.witness import Noise, Witness
from vtp_export.spec import Scalar

LENGTHS = "ratio of the lengths of tokens"


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One image on which two selections differ, by candidate position; `witness` explains it or is None.

    common: what both kept. reasons: a sentence for each token that one side keeps alone, of the first few of each side:
    what the reference makes of it; none where that is not known.
    """

    image: str
    common: tuple[int, ...]
    only_expected: tuple[int, ...]
    only_found: tuple[int, ...]
    witness: Witness | None
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Worth:
    """What kept sets are worth by one thing that their method maximises, over what the reference's sets are worth.

    name: of the objective. mean: over the images. worst: of an image, and which.
    """

    name: str
    mean: float
    worst: float
    image: str


@dataclass(frozen=True, kw_only=True)
class Quarter:
    """Images of like complexity, and on how many of them both sides keep the same.

    low, high: effective rank of the tokens that the trusted side keeps.
    """

    low: float
    high: float
    images: int
    identical: int
    jaccard_mean: float


@dataclass(frozen=True)
class Values:
    """Agreement of token values on positions that both kept, over all images.

    cosine_min: of a token with its counterpart; norm_ratio_min, norm_ratio_max: of their lengths.
    relative_error: largest absolute error over the largest absolute entry.
    """

    cosine_min: float
    norm_ratio_min: float
    norm_ratio_max: float
    relative_error: float


@dataclass(frozen=True, kw_only=True)
class Comparison(Row):
    """One thing held against another: which tokens, their values, the measured numbers; judged in that order.

    worth: by each thing that the method maximises; see `reference/base.py`.
    breaches: sentences for results that are wrong whatever they are held against, see `contract.py`.
    by_complexity: quarters of the images, the simplest first; none where their complexity is not known.
    erank_error: largest relative error where erank >= 20; attention_entropy_error: largest absolute error, in nats.
    None where there was nothing to compare.
    """

    name: str
    images: int
    identical: int
    jaccard_mean: float
    noise: Noise
    differences: tuple[Difference, ...]
    values: Values | None
    erank_error: float | None
    attention_entropy_error: float | None
    worth: tuple[Worth, ...] = ()
    gates: Gates = GATES["fp32"]
    breaches: tuple[str, ...] = ()
    by_complexity: tuple[Quarter, ...] = ()

    @property
    def held_to(self) -> tuple[Gate, ...]:
        """The contract, which tokens, then every number that has a limit; what asks nothing of it is left out."""
        explained = sum(d.witness is not None for d in self.differences)
        kept = f"{self.identical} of {self.images} the same, {explained} explained, "
        kept += f"{len(self.differences) - explained} not"
        limit = "every difference explained by rounding" if self._must_be_explained else "sets as good, see below"
        unexplained = tuple(
            f"{d.image}: keeps other tokens and no rounding within the noise explains it"
            for d in self.differences
            if d.witness is None and self._must_be_explained
        )
        contract = Gate("contract of the outputs", f"{len(self.breaches)} breaches", "no breach", self.breaches)
        return contract, Gate("kept tokens", kept, limit, unexplained), *self._numbers()

    @property
    def _must_be_explained(self) -> bool:
        """What an image is worth can be told only where the signals of the reference are at hand."""
        return self.gates.explained or not self.worth

    @property
    def shortfalls(self) -> tuple[str, ...]:
        """One sentence for each number that misses its gate."""
        return tuple(failure for gate in self._numbers() for failure in gate.failures)

    def _numbers(self) -> Iterator[Gate]:
        for gate, limit in self._from_below():
            if gate.failures or limit > 0:
                yield gate
        gates = self.gates
        if (values := self.values) is not None:
            yield at_most(f"{LENGTHS}, highest", values.norm_ratio_max, 1 + gates.norm_ratio, LENGTHS)
            relative = "error of tokens, relative to the largest entry"
            yield at_most(relative, values.relative_error, gates.relative_error, f"{relative},")
        if self.erank_error is not None:
            yield at_most("relative error of erank", self.erank_error, gates.erank)
        if self.attention_entropy_error is not None:
            yield at_most("error of attention entropy", self.attention_entropy_error, gates.entropy)

    def _from_below(self) -> Iterator[tuple[Gate, float]]:
        """With the limit of each; one of 0 asks nothing of a number."""
        gates = self.gates
        for one in self.worth:
            mean = f"{one.name} of the kept sets over the reference's, mean"
            yield at_least(mean, one.mean, gates.worth, f"{mean},"), gates.worth
            worst = f"{one.name} over the reference's, worst image"
            told = f"{one.image}: {one.name} over the reference's"
            yield at_least(worst, one.worst, gates.worth_worst, told), gates.worth_worst
        yield at_least("mean Jaccard index of the kept sets", self.jaccard_mean, gates.jaccard), gates.jaccard
        if (values := self.values) is not None:
            yield at_least("cosine of tokens", values.cosine_min, gates.cosine), gates.cosine
            least = 1 - gates.norm_ratio
            yield at_least(f"{LENGTHS}, lowest", values.norm_ratio_min, least, LENGTHS), least

    @property
    def numbers(self) -> dict[str, Scalar]:
        """The few that a manifest records."""
        values = self.values
        measured = {
            "jaccard_mean": self.jaccard_mean,
            "worth_mean": min((one.mean for one in self.worth), default=None),
            "worth_worst": min((one.worst for one in self.worth), default=None),
            "cosine_min": None if values is None else values.cosine_min,
            "relative_error": None if values is None else values.relative_error,
            "erank_error": self.erank_error,
            "attention_entropy_error": self.attention_entropy_error,
        }
        return {
            "images": self.images,
            "same_tokens_kept": self.identical,
            "differences_explained": sum(d.witness is not None for d in self.differences),
            "differences_unexplained": sum(d.witness is None for d in self.differences),
            # JSON has no NaN and no infinity.
            **{name: v if v is None or math.isfinite(v) else str(v) for name, v in measured.items()},
        }


@dataclass(frozen=True, kw_only=True)
class ValidationReport(Judged):
    """All comparisons of one run, in the order in which they are judged.

    pixels: the manifest's preprocessing against the model's own.
    false_claims: sentences for what the manifest says of the model and the model does not.
    comparisons: the graph against the reference first, then each format against the graph.
    batches: each format in batches of other sizes against itself; none where only one size is allowed.
    bisections: of each format, where it leaves the graph; none where that was not asked. They decide nothing.
    notes: what the user should know although nothing failed.
    """

    artefact: str
    benchmark: str
    pixels: tuple[PixelComparison, ...] = ()
    false_claims: tuple[str, ...] = ()
    comparisons: tuple[Comparison, ...]
    batches: tuple[Comparison, ...] = ()
    answers: tuple[AnswerComparison, ...] = ()
    bisections: tuple[Bisection, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def failures(self) -> tuple[str, ...]:
        """Why this does not pass: a sentence each, in the order of the fields."""
        return failures_of(self.rows)

    @property
    def rows(self) -> tuple[Row, ...]:
        """All that is judged, in that order."""
        return (*self.pixels, Claims(self.false_claims), *self.comparisons, *self.batches, *self.answers)

    @property
    def shown(self) -> tuple[Comparison, ...]:
        """Comparisons of which tokens are kept."""
        return (*self.comparisons, *self.batches)

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return {
            "artefact": self.artefact,
            "benchmark": self.benchmark,
            "passed": self.passed,
            "pixels": with_verdicts(self.pixels),
            "false_claims": self.false_claims,
            "comparisons": with_verdicts(self.comparisons),
            "batches": with_verdicts(self.batches),
            "answers": with_verdicts(self.answers),
            "bisections": [
                {"name": one.name, "first": one.first and one.first.name, "parts": [vars(part) for part in one.parts]}
                for one in self.bisections
            ],
            "notes": self.notes,
        }


def values_of(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> Values | None:
    """Compare matched rows of tokens.

    Args:
        pairs: for each image (m, d) expected and found, row by row of the same candidate.
    """
    pairs = [(expected, found) for expected, found in pairs if len(expected)]
    if not pairs:
        return None
    cosines, ratios, errors, largest = [], [], [], []
    with np.errstate(all="ignore"):  # infinities lead to a NaN, which no gate lets pass
        for expected, found in pairs:
            a, b = expected.astype(np.float64), found.astype(np.float64)
            lengths_a, lengths_b = np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1)
            usable = lengths_a > 0
            cosines.append(((a * b).sum(1)[usable] / (lengths_a * lengths_b)[usable]).min(initial=math.inf))
            ratios.append((lengths_b / lengths_a)[usable])
            errors.append(np.abs(a - b).max())
            largest.append(np.abs(a).max())
    every_ratio = np.concatenate(ratios)
    return Values(
        float(np.min(cosines)),  # np.min, because min() loses a NaN
        float(every_ratio.min(initial=math.inf)),
        float(every_ratio.max(initial=0.0)),
        float(np.max(errors) / max(np.max(largest), np.finfo(np.float64).tiny)),
    )


def worst_of(*compared: Values | None) -> Values | None:
    """Of several outputs, each held against its own numbers, the worst; None where nothing was compared."""
    every = np.array([dataclasses.astuple(values) for values in compared if values is not None])
    if not len(every):
        return None
    low, high = every.min(0), every.max(0)  # NumPy's, because Python's may lose a NaN
    return Values(float(low[0]), float(low[1]), float(high[2]), float(high[3]))
