"""Answers that pruning loses, as a page shows them."""

from dataclasses import dataclass

from vtp_export.reports.page import Picture
from vtp_export.reports.table import Table


@dataclass(frozen=True, kw_only=True)
class Loss:
    """One picture about which a method answers worse than the unpruned model.

    image: its name. method: what loses, with its budget.
    answers: the questions that it loses, with what is right, and the answers.
    pictures: what the method keeps, and, where there is one, a method that loses nothing; none of what cannot be drawn.
    """

    image: str
    method: str
    answers: Table
    pictures: tuple[Picture, ...]
