"""What people see in a terminal: progress while they wait, tables when it is done."""

import json
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

if TYPE_CHECKING:
    from vtp_export.parity.verdict import ValidationReport


SILENCE = 20.0
"""Seconds after which a line is written though nothing new has begun."""


class Listener:
    """A `progress.Progress`: a bar on a terminal, plain lines elsewhere. Writes to standard error."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._text = ""
        self._began = self._told = time.monotonic()

    def __enter__(self) -> "Listener":
        """Start listening."""
        if self._console.is_terminal:
            columns = SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
            self._bar = Progress(*columns, console=self._console, transient=True)
            self._bar.start()
            self._task = self._bar.add_task("starting", total=None)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, text: str, done: int = 0, total: int = 0) -> None:
        """See `progress.Progress`."""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, description=text, completed=done, total=total or None)
        # One line for each new thing, not one for each step of it; but no long silence either.
        elif text != self._text or time.monotonic() - self._told >= SILENCE:
            self._told = time.monotonic()
            count = f" ({done} of {total})" if total and text == self._text else ""
            print(f"[{self._told - self._began:6.1f} s] {text}{count}", file=sys.stderr, flush=True)
        self._text = text


def show_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table; numbers are aligned to the right."""
    table = Table(title=title, title_justify="left", title_style="bold")
    cells = [[_cell(value) for value in row] for row in rows]
    for i, column in enumerate(columns):
        numeric = all(row[i].strip(" x%-")[:1].isdigit() or row[i] in ("", "-") for row in cells)
        table.add_column(column, justify="right" if numeric and cells else "left", overflow="fold")
    for row in cells:
        table.add_row(*row)
    # Piped output keeps its full width, so that another program can read it.
    # A sentence such as "pip install 'vtp-export[export]'" is no markup.
    Console(width=None if sys.stdout.isatty() else 1000, highlight=False, markup=False).print(table)


def show_pairs(title: str, pairs: Mapping[str, object]) -> None:
    """Print names and values."""
    show_table(title, ("", ""), [(name, value) for name, value in pairs.items()])


def show_validation(result: "ValidationReport") -> None:
    """Print the tables of a validation, and a sentence for every failure."""
    from vtp_export.reports.validation import answer_rows, validation_rows

    columns, rows, failures = validation_rows(result)
    show_table("validation", columns, rows)
    if result.answers:
        show_table("answers", *answer_rows(result))
        differing = [(a.name, *vars(d).values()) for a in result.answers for d in a.disagreements]
        if differing:
            columns = ("comparison", "image", "question", "graph", "found", "margin of the logits")
            show_table("answers that differ", columns, differing)
    for failure in failures:
        say(f"failed: {failure}")


def show_json(value: Any) -> None:
    """Print JSON for programs."""
    print(json.dumps(value, indent=2, sort_keys=True, default=str))


def say(sentence: str) -> None:
    """Print a sentence."""
    print(sentence)


def complain(sentence: str) -> None:
    """Print a sentence to standard error."""
    print(sentence, file=sys.stderr)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
