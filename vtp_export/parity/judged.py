"""What all that is judged has in common: a sentence for everything that is wrong, and the verdict that follows."""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any


class Judged(ABC):
    """Passes if nothing failed."""

    @property
    @abstractmethod
    def failures(self) -> tuple[str, ...]:
        """Why it does not pass: a sentence for each gate that is not met."""

    @property
    def passed(self) -> bool:
        """Whether every gate is met."""
        return not self.failures


class Row(Judged):
    """One of several things that are judged, each by its name; a dataclass."""

    name: str


def failures_of(rows: Iterable[Row]) -> tuple[str, ...]:
    """All of them, each with the name of what failed."""
    return tuple(f"{row.name}: {failure}" for row in rows for failure in row.failures)


def with_verdicts(rows: Iterable[Row]) -> list[dict[str, object]]:
    """For JSON: each `Row` with its verdict."""
    fields: Callable[[Any], dict[str, object]] = dataclasses.asdict
    return [{**fields(row), "passed": row.passed, "failures": row.failures} for row in rows]
