"""What every result must be, whatever the image: judged before it is held against another.

Finite; as many tokens as the slots allow; positions that exist, each once, in the order that the method declares; and
empty slots empty, for whoever reads them: zeros in `tokens`, -1 in `kept`. Where there are `position_ids`, those of
what is kept.
"""

import numpy as np

from vtp_export.manifests import FEATURES
from vtp_export.runtime.output import Kept, Output
from vtp_export.runtime.positions import positions_of
from vtp_export.spec import Layout


def breaches(output: Output, view: int, layout: Layout, ascending: bool, merges: bool) -> tuple[str, ...]:
    """A sentence for everything in one view of an output that breaks the contract.

    Args:
        output: of a batch, empty slots included.
        view: which row.
        layout: of the model itself.
        ascending: whether `kept` is to ascend.
        merges: whether a token may stand for no place (-1).
    """
    arrays = {name: array[view] for name, array in output.arrays().items()}
    sentences = [
        f"'{name}' holds a NaN or an infinity" for name, array in arrays.items() if not np.isfinite(array).all()
    ]
    count = int(arrays["num_kept"])
    if not 1 <= count <= layout.slots:
        return (*sentences, f"num_kept is {count}, and must be from 1 to {layout.slots}")
    real, empty = arrays["kept"][:count], arrays["kept"][count:]
    sentences += _misplaced(real, -1 if merges else 0, layout.candidates.n - 1, ascending)
    if (filled := np.flatnonzero(empty != -1)).size:
        sentences.append(
            f"'kept' is {empty[filled[0]]} in slot {count + filled[0]}, past num_kept ({count}), and must be -1"
        )
    for name in FEATURES:
        if name in arrays and (filled := np.flatnonzero((arrays[name][count:] != 0).any(1))).size:
            sentences.append(f"'{name}' is not zero in slot {count + filled[0]}, past num_kept ({count})")
    if (given := arrays.get("position_ids")) is not None:
        kept = np.minimum(arrays["kept"], layout.candidates.n - 1)  # one beyond is told of already
        wrong = np.flatnonzero((given != positions_of(kept, layout.candidates.grid)).any(0))
        if wrong.size:
            slot = wrong[0]
            sentences.append(
                f"'position_ids' of slot {slot} are {given[:, slot].tolist()}, and candidate {kept[slot]} does not "
                "stand there"
            )
    return tuple(sentences)


def not_finite(result: Kept) -> tuple[str, ...]:
    """The same of a graph's own result, whose slots are not looked at: a sentence for everything that is not finite."""
    values = {name: value for name, value in vars(result).items() if value is not None}
    return tuple(
        f"the graph itself, in float32, gives '{name}' that is not finite: its weights, or this image, cannot be right"
        for name, value in values.items()
        if not np.isfinite(value).all()
    )


def _misplaced(kept: np.ndarray, lowest: int, highest: int, ascending: bool) -> list[str]:
    outside = kept[(kept < lowest) | (kept > highest)]
    if outside.size:
        return [f"'kept' holds {outside[0]}, and must be from {lowest} to {highest}"]
    places = kept[kept >= 0]
    if len(np.unique(places)) < len(places):
        return ["'kept' holds a position twice"]
    if ascending and (np.diff(places) < 0).any():
        return ["'kept' does not ascend, as it must for this method"]
    return []
