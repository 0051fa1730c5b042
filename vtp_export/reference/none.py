"""Keep everything."""

import numpy as np

from vtp_export.reference.base import Outcome, Settings, Signals, taken


def select(signals: Signals, settings: Settings) -> Outcome:
    """All positions."""
    return Outcome(np.arange(signals.n), choices=taken("everything is kept", range(signals.n)))
