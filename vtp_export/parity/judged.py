"""What all that is judged has in common: gates, a sentence for each that is not met, and the verdict that follows."""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Gate(Judged):
    """One thing that is asked.

    name: what. found: what came out, as people read it. limit: what it must be, in words.
    failures: a sentence for each way in which it is not met.
    """

    name: str
    found: str
    limit: str
    failures: tuple[str, ...] = ()


class Row(Judged):
    """One of several things that are judged, each by its name; a dataclass."""

    name: str

    @property
    @abstractmethod
    def held_to(self) -> tuple[Gate, ...]:
        """All that is asked of it, in the order in which it is judged."""

    @property
    def failures(self) -> tuple[str, ...]:
        """Those of its gates."""
        return tuple(failure for gate in self.held_to for failure in gate.failures)


@dataclass(frozen=True)
class Claims(Row):
    """What a manifest says of its model: a sentence for everything that the model denies."""

    false: tuple[str, ...]
    name: str = "manifest"

    @property
    def held_to(self) -> tuple[Gate, ...]:
        """That nothing is denied."""
        return (Gate("what it says of the model", f"{len(self.false)} false claims", "none is false", self.false),)


def at_least(name: str, value: float, limit: float, told: str | None = None) -> Gate:
    """A gate from below, which a NaN does not meet; `told` is its name in the sentence."""
    failures = () if value >= limit else (f"{told or name} is {value:.6g}, below {limit:g}",)
    return Gate(name, f"{value:.7g}", f"at least {limit:g}", failures)


def at_most(name: str, value: float, limit: float, told: str | None = None) -> Gate:
    """A gate from above, which a NaN does not meet; `told` is its name in the sentence."""
    failures = () if value <= limit else (f"{told or name} is {value:.6g}, above {limit:g}",)
    found = f"{value:.7g}" if limit >= 1 else f"{value:.2g}"  # what is near 1 takes its digits
    return Gate(name, found, f"at most {limit:g}", failures)


def failures_of(rows: Iterable[Row]) -> tuple[str, ...]:
    """All of them, each with the name of what failed."""
    return tuple(f"{row.name}: {failure}" for row in rows for failure in row.failures)


def with_verdicts(rows: Iterable[Row]) -> list[dict[str, object]]:
    """For JSON: each `Row` with its verdict."""
    fields: Callable[[Any], dict[str, object]] = dataclasses.asdict
    return [{**fields(row), "passed": row.passed, "failures": row.failures} for row in rows]
