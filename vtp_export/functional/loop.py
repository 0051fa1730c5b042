"""A fixed number of rounds: one loop operator in an exported graph, or as many copies of the round."""

from collections.abc import Callable

import torch
from torch import Tensor

Step = Callable[[Tensor | int, Tensor], Tensor]


def repeat(step: Step, state: Tensor, rounds: int, loop: bool) -> Tensor:
    """Apply `state = step(round, state)` a fixed number of times.

    Under `torch.export` this is one loop operator, so the graph does not grow with `rounds`; elsewhere, and
    where `loop` is False for targets without loops, it unrolls. Both do the same arithmetic.

    Args:
        step: takes the round, an int or a 0-dimensional int64, and the state; returns a state of the same shape.
        state: any tensor.
        rounds: how often.
        loop: whether the target has a loop operator.
    """
    if loop and torch.compiler.is_exporting():

        def body(turn: Tensor, current: Tensor) -> tuple[Tensor, Tensor]:
            return turn + 1, step(turn, current)

        _, state = torch.while_loop(lambda turn, _: turn < rounds, body, (torch.tensor(0), state))
        return state
    for turn in range(rounds):
        state = step(turn, state)
    return state
