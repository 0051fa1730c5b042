"""The seeded draw, one key at a time."""

import numpy as np

from vtp_export.reference.base import Objective, Outcome, Settings, Signals, taken

WORD = 2**64


MAXIMISES: tuple[Objective, ...] = ()


def select(signals: Signals, settings: Settings) -> Outcome:
    """The positions of the k smallest keys."""
    seed = int(settings["seed"] or 0)
    drawn = sorted(range(signals.n), key=lambda i: mixed(seed * 2**32 + i))
    drawn = drawn[: int(settings["keep"] or 0)]
    return Outcome(np.array(sorted(drawn)), choices=taken("drawn", drawn))


def mixed(value: int) -> int:
    """The finaliser of SplitMix64."""
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 % WORD
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB % WORD
    return value ^ (value >> 31)
