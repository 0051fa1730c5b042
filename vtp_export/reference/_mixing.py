"""The mixing ratio of the hybrids: how many tokens attention chooses."""

import math

from vtp_export.reference.base import Settings, Signals
from vtp_export.reference.erank import complexity_of


def attention_count(signals: Signals, settings: Settings, keep: int) -> tuple[int, float | None]:
    """How many of `keep`, and the complexity where one was measured; `low` and `high` resolved."""
    ratio = str(settings["ratio"])
    if ratio not in ("adaptive", "inverse"):
        return _floor(keep * float(ratio)), None
    measured = complexity_of(signals, settings)
    low, high, most, least = (float(settings[name] or 0) for name in ("low", "high", "most", "least"))
    position = min(max((measured - low) / (high - low), 0.0), 1.0)
    if ratio == "inverse":
        most, least = least, most
    return _floor(keep * (most + (least - most) * position)), measured


def _floor(value: float) -> int:
    """Whole part, where less than 2^-12 below a whole number is that number."""
    return math.floor(value + 2.0**-12)
