"""A folder of OpenVINO GenAI that was written, and whether it answers as the checkpoint does."""

import dataclasses
from dataclasses import dataclass

from vtp_export.parity.answers import SIGNIFICANT, AnswerComparison
from vtp_export.parity.judged import Judged, failures_of, with_verdicts
from vtp_export.reports.answers import answer_table, disagreement_table
from vtp_export.reports.table import Summary, pairs

FEW = 0.5
"""A share of equal answers that rounding does not explain."""


@dataclass(frozen=True, kw_only=True)
class GenaiReport(Judged):
    """What was written.

    weights: the type of most of the language model's weights, as OpenVINO names it. tokens, candidates: visual tokens
    of a picture at most, and of the unpruned model. first_token_ms: from the picture, resized, to the first token, the
    median. answers: of the folder against Transformers, and, where asked for, as it was given and unpruned. notes: what
    the user should know.
    """

    folder: str
    weights: str
    tokens: int
    candidates: int
    first_token_ms: float
    answers: tuple[AnswerComparison, ...]
    notes: tuple[str, ...]

    @property
    def failures(self) -> tuple[str, ...]:
        """A sentence each, and what it may be."""
        found = failures_of(self.answers)
        pruned = self.answers[0]
        if pruned.p_value < SIGNIFICANT or pruned.identical < FEW * pruned.questions:
            cause = "is not the checkpoint's, or was read wrongly at its export"
            narrow = "" if self.weights in ("f32", "f16") else f", or is spoilt by its narrow weights ({self.weights})"
            return (*found, f"the language model of the folder {cause}{narrow}")
        return found

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        own = {**dataclasses.asdict(self), "answers": with_verdicts(self.answers)}
        return {**own, "passed": self.passed, "failures": self.failures}


def genai_summary(report: GenaiReport) -> Summary:
    """What was written, the answers, and what to do next."""
    values = {
        "visual tokens": f"{report.tokens} of {report.candidates}",
        "language model's weights": report.weights,
        "picture to first token, ms": f"{report.first_token_ms:.1f}",
    }
    tables = answer_table(report.answers), disagreement_table(report.answers)
    return (
        pairs(report.folder, values),
        *(table for table in tables if table.rows),
        *(f"failed: {failure}" for failure in report.failures),
        *(f"note: {note}" for note in report.notes),
        f'next: openvino_genai.VLMPipeline("{report.folder}", "CPU", INFERENCE_PRECISION_HINT="f32")',
    )
