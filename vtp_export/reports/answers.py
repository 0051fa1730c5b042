"""Answers against answers, as tables."""

from collections.abc import Sequence

from vtp_export.parity.answers import AnswerComparison
from vtp_export.reports.judged import verdict
from vtp_export.reports.table import Table


def answer_table(answers: Sequence[AnswerComparison]) -> Table:
    """A row for each format that answered."""
    metric = answers[0].metric if answers else "score"
    columns = (
        "comparison",
        "questions",
        "identical",
        "tokens alike",
        f"{metric} of graph",
        metric,
        "p",
        "first token ms",
        "verdict",
    )
    rows: list[tuple[object, ...]] = [
        (
            a.name,
            a.questions,
            a.identical,
            f"{a.agreement:.5f}",
            f"{a.expected:.4f}",
            f"{a.found:.4f}",
            f"{a.p_value:.2g}",
            None if a.first_token_ms is None else f"{a.first_token_ms:.1f}",
            verdict(a.passed) if a.decides else "told",
        )
        for a in answers
    ]
    return Table("answers", columns, rows)


def disagreement_table(answers: Sequence[AnswerComparison]) -> Table:
    """A row for each answer that differs from the graph's."""
    columns = ("comparison", "image", "question", "graph", "found", "margin of the logits")
    rows = [(a.name, *vars(d).values()) for a in answers for d in a.disagreements]
    return Table("answers that differ", columns, rows)
