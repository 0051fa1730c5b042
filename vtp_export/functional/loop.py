"""A fixed number of rounds: one loop operator in a captured graph, or as many copies of the round."""

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar

import torch
from torch import Tensor

Step = Callable[[Tensor | int, Tensor], Tensor]

_unrolled: ContextVar[bool] = ContextVar("unrolled", default=False)


@contextlib.contextmanager
def unrolled() -> Iterator[None]:
    """What is captured inside has no loop operator."""
    token = _unrolled.set(True)
    try:
        yield
    finally:
        _unrolled.reset(token)


def repeat(step: Step, state: Tensor, rounds: int) -> Tensor:
    """Apply `state = step(round, state)` a fixed number of times.

    Under `torch.export` this is one loop operator, so the graph does not grow with `rounds`; elsewhere, and inside
    `unrolled`, as many copies. Both do the same arithmetic.

    Args:
        step: takes the round, an int or a 0-dimensional int64, and the state; returns a state of the same shape.
        state: any tensor.
        rounds: how often.
    """
    if torch.compiler.is_exporting() and not _unrolled.get():

        def body(turn: Tensor, current: Tensor) -> tuple[Tensor, Tensor]:
            return turn + 1, step(turn, current)

        _, state = torch.while_loop(lambda turn, _: turn < rounds, body, (torch.tensor(0), state))
        return state
    for turn in range(rounds):
        state = step(turn, state)
    return state
