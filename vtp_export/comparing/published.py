"""The tables of AgilePruner's paper, as data: which benchmarks, methods and budgets, and what is printed.

One file a table in `tables/`. The settings of methods that the paper compares with are their releases' defaults, as
those of this package are; of methods inside the language model the paper states none. A method that is named there and
is not here is said, and left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vtp_export.comparing.choices import config_of, methods
from vtp_export.comparing.contenders import FULL, Wanted
from vtp_export.errors import SpecError, UnknownNameError
from vtp_export.json_records import decode, read_json
from vtp_export.reports.standings import Column, PrintedScores, relative
from vtp_export.settings import from_settings
from vtp_export.spec import Scalar

ROUNDED = 0.06
"""Columns are printed with one decimal, and averages with one or two."""

TABLES = Path(__file__).parent / "tables"


@dataclass(frozen=True, kw_only=True)
class PrintedRow:
    """One method at one budget.

    label: what the table calls it. method: a file of `pruners/` or `inllm/`, which may not be here.
    settings: those that are not defaults. keep: the budget of a view; None of the full model.
    tokens: what the table counts. scores: of its columns. relative: its average of them.
    """

    label: str
    method: str
    settings: dict[str, Scalar]
    keep: int | None
    tokens: float
    scores: tuple[float, ...]
    relative: float

    @property
    def printed(self) -> PrintedScores:
        """What stands in the table."""
        return PrintedScores(scores=self.scores, relative=self.relative)


@dataclass(frozen=True, kw_only=True)
class PublishedTable:
    """One table; its first row is the full model's.

    model: which the paper measured. form: how its evaluation words prompts. grid: of a model of any resolution.
    notes: what is to be known of the printed figures.
    """

    number: int
    title: str
    model: str
    form: str
    grid: str | None
    columns: tuple[Column, ...]
    rows: tuple[PrintedRow, ...]
    notes: tuple[str, ...]

    @property
    def benchmarks(self) -> list[str]:
        """Names, in the order of the columns."""
        return list(dict.fromkeys(column.benchmark for column in self.columns))


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What of a table is to be run.

    wanted: the first keeps all. printed: what the table has of each. notes: what is not run, and what is to be known.
    """

    columns: tuple[Column, ...]
    wanted: tuple[Wanted, ...]
    printed: tuple[PrintedScores, ...]
    notes: tuple[str, ...]


def numbers() -> list[int]:
    """Of the tables that are here."""
    return sorted(int(path.stem) for path in TABLES.glob("*.json"))


def published_table(number: int) -> PublishedTable:
    """One of them.

    Raises:
        UnknownNameError: it is not here.
    """
    if number not in numbers():
        raise UnknownNameError("table", str(number), [str(one) for one in numbers()])
    path = TABLES / f"{number:02d}.json"
    table: PublishedTable = decode(PublishedTable, read_json(path, f"'{path}'"), f"table {number}")
    return table


def plan_of(
    table: PublishedTable,
    benchmarks: Sequence[str] = (),
    names: Sequence[str] = (),
    keeps: Sequence[Any] = (),
) -> Plan:
    """A table, or a part of it.

    Args:
        table: which.
        benchmarks: those of its columns that are wanted; none for all.
        names: the same of its methods.
        keeps: the same of its budgets.

    Raises:
        SpecError: something is asked for that the table does not have.
    """
    _refuse_strangers(table, "benchmark", benchmarks, table.benchmarks)
    _refuse_strangers(table, "method", names, [row.method for row in table.rows])
    _refuse_strangers(table, "budget", keeps, [row.keep for row in table.rows if row.keep is not None])
    places = [i for i, column in enumerate(table.columns) if not benchmarks or column.benchmark in benchmarks]
    rows = [
        row
        for row in table.rows
        if row.method == FULL or ((not names or row.method in names) and (not keeps or row.keep in keeps))
    ]
    here = [row for row in rows if row.method in methods()]
    whole = len(places) == len(table.columns)
    printed = [
        PrintedScores(scores=tuple(row.scores[i] for i in places), relative=row.relative if whole else None)
        for row in here
    ]
    absent = _absent([row for row in rows if row not in here])
    return Plan(
        columns=tuple(table.columns[i] for i in places),
        wanted=tuple(_wanted(row) for row in here),
        printed=tuple(printed),
        notes=(
            *absent,
            *(_misfits(table, rows) if whole else ()),
            *table.notes,
        ),
    )


def _wanted(row: PrintedRow) -> Wanted:
    if row.method == FULL:
        return Wanted(FULL, FULL, {})
    settings = {**row.settings, "keep": row.keep}
    from_settings(config_of(row.method), settings)
    return Wanted(row.label, row.method, settings)


def _absent(rows: Sequence[PrintedRow]) -> list[str]:
    budgets: dict[str, list[str]] = {}
    for row in rows:
        budgets.setdefault(row.label, []).append(str(row.keep))
    return [f"left out: {label} ({', '.join(keeps)} tokens), which is not here" for label, keeps in budgets.items()]


def _misfits(table: PublishedTable, rows: Sequence[PrintedRow]) -> list[str]:
    """Printed averages that do not follow from their own columns."""
    full, notes = table.rows[0].scores, []
    for row in rows:
        found = relative(row.scores, full)
        if found is not None and abs(found - row.relative) > ROUNDED:
            printed = f"'{row.label}' at {row.keep} tokens: {row.relative:g} is printed as its average"
            notes.append(f"{printed}, and its printed columns give {found:.2f}")
    return notes


def _refuse_strangers(table: PublishedTable, what: str, asked: Sequence[Any], known: Sequence[Any]) -> None:
    for one in asked:
        if one not in known:
            listed = ", ".join(str(name) for name in dict.fromkeys(known))
            raise SpecError(f"table {table.number} has no {what} '{one}'; it has {listed}")
