"""Keep everything."""

import numpy as np

from vtp_export.reference.base import Objective, Outcome, Settings, Signals, taken

MAXIMISES: tuple[Objective, ...] = ()


def select(signals: Signals, settings: Settings) -> Outcome:
    """All positions."""
    return Outcome(np.arange(signals.n), choices=taken("everything is kept", range(signals.n)))
