"""The contract of a pruner file.

A file `pruners/NAME.py` defines

- `NEEDS`: the fields of `Tokens` that it reads besides `hidden`;
- `STAGE`: "hidden" or "projected", the features its selection or mixture acts on. A selector says "hidden",
  so that only what it keeps is projected, unless it reads the projected features anyway;
- `ORDER`: "by method" where `kept` is not ascending, which otherwise it is;
- `CHAOTIC = True` where rounding of the last place can change a large part of the selection: such a method is compared
  token by token in float64 only;
- `Config`: a frozen dataclass whose fields all have defaults, `keep` first;
- `Pruner(config, candidates)`: an `nn.Module` with the attributes of `Pruner` below;
- `resolve(config, calibration=None) -> (config, origins)`, only where a setting has a calibrated default: settles it,
  from the `spec.CalibrationRecord` if there is one, and says for the manifest where the number comes from.

Laws, checked for every file: `kept` is distinct, in range and in the declared order; keeping all n is the identity,
unless tokens are merged; a batch gives what its images give alone; the same input gives the same output; it agrees with
the file of the same name in `reference/`, in float64 exactly; every backend agrees with it.
"""

from typing import Protocol

from vtp_export.errors import SpecError
from vtp_export.functional.tokens import Selection, Tokens
from vtp_export.spec import Candidates


class Pruner(Protocol):
    """What the graph relies on."""

    keep: int
    """Width k of the outputs: the most tokens an image can keep."""

    measures: tuple[str, ...]
    """Which of "erank" and "attention_entropy" its `Selection` carries.

    Where a setting decides what is read, the attributes `needs` and `stage` replace the file's `NEEDS` and `STAGE`."""

    loop: bool
    """Whether rounds may be one loop operator (`functional.walk.repeat`); set from outside before an export."""

    def __call__(self, tokens: Tokens) -> Selection:
        """Choose; see `Selection`."""
        ...


def check_keep(keep: int, candidates: Candidates) -> int:
    """Refuse a budget below 1 and cut one above n down to n.

    Raises:
        SpecError: keep < 1.
    """
    if keep < 1:
        raise SpecError(f"keep is {keep}; it must be between 1 and {candidates.n}, the number of visual tokens")
    return min(keep, candidates.n)


def grid_of(candidates: Candidates, method: str) -> tuple[int, int]:
    """Rows and columns, for a method that asks who is whose neighbour.

    Raises:
        SpecError: CLS is a candidate, which has no neighbours.
    """
    if candidates.cls:
        raise SpecError(
            f"{method} looks at neighbours in the picture, and this model keeps CLS among the candidates "
            "(vision_feature_select_strategy 'full'); choose another pruner"
        )
    return candidates.grid
