"""Where a runtime leaves the graph, as data."""

from dataclasses import dataclass

FACTOR = 16.0
"""So many times its rounding noise may a part be off: kernels differ, and half precision is off by thousands."""


@dataclass(frozen=True)
class Part:
    """One part of the graph: largest error on the input that the runtime itself gave it, and how much it may be.

    Of the selection: images whose choice no rounding explains.
    """

    name: str
    error: float
    limit: float

    @property
    def left(self) -> bool:
        """Whether the runtime leaves the graph here; a number that is none does."""
        return not self.error <= self.limit


@dataclass(frozen=True)
class Bisection:
    """All parts of one format, in the order in which they are computed."""

    name: str
    parts: tuple[Part, ...]

    @property
    def first(self) -> Part | None:
        """The first part where the runtime leaves the graph."""
        return next((part for part in self.parts if part.left), None)

    @property
    def sentence(self) -> str:
        """What came of it."""
        if (part := self.first) is None:
            return f"{self.name}: no part of the graph, built anew here, leaves the rounding noise"
        return f"{self.name} leaves the graph at {part.name}: off by {part.error:.2g}, and {part.limit:.2g} is rounding"
