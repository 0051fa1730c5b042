"""What people see in a terminal: progress while they wait, tables when it is done."""

import contextlib
import dataclasses
import json
import math
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import rich.table
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from vtp_export.errors import printable
from vtp_export.reports.table import Summary, Table

SILENCE = 20.0
"""Seconds after which a line is written though nothing new has begun."""


class Listener:
    """A `progress.Progress`: a bar on a terminal, plain lines elsewhere. Writes to standard error.

    Args:
        quiet: say nothing, no notes either.
        verbose: a line for every step, on a terminal too.
    """

    def __init__(self, quiet: bool = False, verbose: bool = False) -> None:
        self._console = Console(stderr=True, highlight=False, markup=False)
        self._quiet, self._verbose = quiet, verbose
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._text = ""
        self._began = self._told = self._since = time.monotonic()
        self._first = 0

    def __enter__(self) -> "Listener":
        """Start listening."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, text: str, done: int = 0, total: int = 0) -> None:
        """See `progress.Progress`."""
        if self._quiet:
            return
        if text != self._text:
            self._since, self._first = time.monotonic(), done
        if self._console.is_terminal and not self._verbose:
            self._draw(text, done, total)
        # One line for each new thing, not one for each step of it; but no long silence either.
        elif text != self._text or self._verbose or time.monotonic() - self._told >= SILENCE:
            self._told = time.monotonic()
            count = f" ({done} of {total}{self._left(done, total)})" if total and text == self._text else ""
            self._write(f"[{self._told - self._began:6.1f} s] {text}{count}")
        self._text = text

    def _left(self, done: int, total: int) -> str:
        """How fast it went so far, and how long the rest takes if it goes on like that."""
        if done <= self._first:
            return ""
        each = (time.monotonic() - self._since) / (done - self._first)
        rate = f", {1 / each:.3g} a second" if each > 0 else ""
        seconds = each * (total - done)
        left = f"about {seconds:.0f} s left" if seconds < 100 else f"about {seconds / 60:.0f} min left"
        return f"{rate}, {left}"

    def note(self, sentence: str) -> None:
        """Say what the user should know although it went well."""
        if not self._quiet:
            self._write(f"note: {sentence}")

    def _draw(self, text: str, done: int, total: int) -> None:
        if self._bar is None:
            columns = (
                SpinnerColumn(),
                TextColumn("{task.description}"),
                BarColumn(),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
            )
            self._bar = Progress(*columns, console=self._console, transient=True)
            self._bar.start()
        if self._task is None:
            self._task = self._bar.add_task(text, total=None)
        self._bar.update(self._task, description=text, completed=done, total=total or None)

    def _write(self, line: str) -> None:
        line = printable(line)
        with contextlib.suppress(OSError):  # a full disk behind standard error is no reason to stop
            if self._bar is None:
                print(line, file=sys.stderr, flush=True)
            else:
                self._console.print(line, soft_wrap=True)  # above the bar


def show(summary: Summary) -> None:
    """Print tables and sentences."""
    for part in summary:
        if isinstance(part, str):
            print("\n".join(map(printable, part.split("\n"))))
        else:
            _show_table(part)


def _show_table(content: Table) -> None:
    """Numbers are aligned to the right."""
    # What is piped keeps every cell whole, and has no frame, so that a line is as narrow as it can be.
    piped = not sys.stdout.isatty()
    form: dict[str, Any] = {"box": None, "pad_edge": False} if piped else {}
    table = rich.table.Table(title=content.title, title_justify="left", title_style="bold", **form)
    cells = content.cells()
    for i, column in enumerate(content.columns):
        numeric = all(row[i].strip(" x%-")[:1].isdigit() or row[i] in ("", "-") for row in cells)
        table.add_column(column, justify="right" if numeric and cells else "left", overflow="fold")
    for row in cells:
        table.add_row(*map(printable, row))
    # A sentence such as "pip install 'onnxruntime-gpu[cuda]'" is no markup.
    console = Console(width=1000 if piped else None, highlight=False, markup=False)
    with console.capture() as captured:  # a console that prints itself ends the process when its reader has gone
        console.print(table)
    print("\n".join(line.rstrip() for line in captured.get().splitlines()))


def show_json(value: object) -> None:
    """Print JSON for programs."""
    print(json.dumps(plain(value), indent=2, sort_keys=True, allow_nan=False))


def plain(value: object) -> object:
    """What JSON can hold, of a record.

    Records become objects and paths text. JSON has no number for what is not finite: it becomes "nan", "inf" or "-inf",
    as in a manifest, and not null, which says that a thing was not measured.

    Raises:
        TypeError: JSON has nothing for it.

    Example:
        >>> plain({"cosine": float("nan"), "erank": None, "page": Path("report/index.html")})
        {'cosine': 'nan', 'erank': None, 'page': 'report/index.html'}
    """
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, Path):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    raise TypeError(f"JSON has nothing for a {type(value).__name__}")
