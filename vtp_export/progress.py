"""How a long command tells what it is doing, without knowing who listens."""

from typing import Protocol


class Progress(Protocol):
    """Called often; must be quick."""

    def __call__(self, text: str, done: int = 0, total: int = 0) -> None:
        """Report that `text` is under way, `done` of `total` units finished; 0 of 0 when they cannot be counted."""
        ...


def silent(text: str, done: int = 0, total: int = 0) -> None:
    """Listen to nothing."""
