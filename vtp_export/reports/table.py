"""A table, whoever shows it, and what a command tells people."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias


@dataclass(frozen=True)
class Table:
    """Rows under named columns; a cell may be anything that has a text."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[object]]

    def cells(self) -> list[list[str]]:
        """The texts of all rows: what was not measured is "-", and a number has six digits.

        Example:
            >>> Table("timings", ("what", "ms"), [("a", 1.23456789), ("b", None)]).cells()
            [['a', '1.23457'], ['b', '-']]
        """
        return [[_cell(value) for value in row] for row in self.rows]


Summary: TypeAlias = Sequence[Table | str]
"""What people see of a result: tables and sentences, in order."""


def pairs(title: str, values: Mapping[str, object]) -> Table:
    """A table of names and values."""
    return Table(title, ("what", "value"), list(values.items()))


def mention(page: Path | None) -> Summary:
    """Where to read more, if a page was written."""
    return () if page is None else (f"report: {page}",)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
