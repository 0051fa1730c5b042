"""PruMerge, literally."""

from vtp_export.reference._objectives import mass
from vtp_export.reference._prumerge import merged, outliers
from vtp_export.reference.base import Outcome, Settings, Signals, descending, taken

MAXIMISES = (mass("following_saliency"),)


def select(signals: Signals, settings: Settings) -> Outcome:
    """Outliers, or the keep - 1 most attended."""
    attention = signals.following_saliency
    assert attention is not None
    keep = min(int(settings["keep"] or 0), signals.n)
    count = outliers(attention) if settings["count"] == "adaptive" else keep - 1
    return merged(signals, taken("attention", descending(attention)[:count], attention))
