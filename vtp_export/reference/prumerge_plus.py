"""PruMerge+, literally."""

from vtp_export.reference._objectives import mass
from vtp_export.reference._prumerge import merged, outliers
from vtp_export.reference.base import Outcome, Settings, Signals, descending, taken

MAXIMISES = (mass("following_saliency"),)


def select(signals: Signals, settings: Settings) -> Outcome:
    """Outliers and every s-th token, or a quarter by attention and an even sample."""
    attention = signals.following_saliency
    assert attention is not None
    n = signals.n
    if settings["count"] == "adaptive":
        count = outliers(attention)
        top = descending(attention)[:count]
        stride = max(1, int(int(1 / (count / n)) / 3))
        sample = [i for i in range(0, n - 1, stride) if i not in set(top)]
        return merged(signals, taken("attention", top, attention) + taken("in an even sample", sample))
    picks = min(int(settings["keep"] or 0), n) - 1
    count = int(picks / 4 + 0.5)
    top = descending(attention)[:count]
    left = [i for i in range(n) if i not in set(top)]
    sample = [left[i * len(left) // (picks - count)] for i in range(picks - count)]
    return merged(signals, taken("attention", top, attention) + taken("in an even sample", sample))
