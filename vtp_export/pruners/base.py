"""The contract of a pruner file.

A file `pruners/NAME.py` defines

- `Config(base.Config)`: its settings, all with defaults, `keep` first;
- `needs(config) -> frozenset[str]`: the fields of `Tokens` that it reads besides `hidden`, from the settings alone, so
  that only what is needed is read of a checkpoint;
- `Pruner(base.Pruner)`: `__init__(config, candidates)`, which sets `self.method`, and `forward`.

Laws, checked for every file: `kept` is distinct, in range and in the declared order; keeping all n is the identity,
unless tokens are merged; what is not chosen by place is chosen alike when shuffled; a batch gives what its images give
alone; the same input gives the same output; it agrees with the file of the same name in `reference/`, in float64
exactly; every backend agrees with it.
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from vtp_export import rooms
from vtp_export.calibrations import CalibrationRecord
from vtp_export.errors import ContractError, SpecError
from vtp_export.functional.sizes import capturing
from vtp_export.functional.tokens import Selection, Tokens
from vtp_export.settings import Setting, at_least, check, described
from vtp_export.spec import Candidates

Stage = Literal["hidden", "projected"]

WHOLE, WIDE = (torch.int64,), (torch.float32, torch.float64)

BUDGET = "a ninth of LLaVA-1.5's 576 tokens, as in the papers"


@dataclass(frozen=True, kw_only=True)
class Method:
    """What a pruner says of itself, its settings in force.

    slots: width k of the outputs: the most tokens that an image can keep.
    needs: as the file's `needs`.
    stage: the features that its selection or mixture acts on. A selector says "hidden", so that only what it keeps is
        projected, unless it reads the projected features anyway.
    measures: which of "erank" and "attention_entropy" its `Selection` carries.
    ascending: whether `kept` ascends.
    merges: whether its `Selection` carries a mixture.
    by_place: whether it counts where in the picture a candidate is; otherwise shuffled candidates are chosen alike.
    chaotic: whether rounding of the last place can change a large part of the selection: such a method is compared
        token by token in float64 only.
    """

    slots: int
    needs: frozenset[str]
    stage: Stage = "hidden"
    measures: tuple[str, ...] = ()
    ascending: bool = True
    merges: bool = False
    by_place: bool = False
    chaotic: bool = False


@dataclass(frozen=True)
class Config:
    """Settings of a pruner.

    keep: how many tokens.

    Raises:
        SpecError: a value breaks its rule.
    """

    keep: int = at_least(64, 1, source=BUDGET)

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        check(self)

    @property
    def budget(self) -> int | None:
        """How many tokens an image of average complexity keeps, or None where the method knows no budget."""
        return self.keep

    @property
    def calibrated(self) -> bool:
        """Whether a setting that was left out takes its value from a calibration record, where there is one."""
        return False

    def resolved(self, calibration: CalibrationRecord | None = None) -> tuple["Config", dict[str, str]]:
        """Settle what has a calibrated default: the user's value, else the record's, else a published one.

        Returns:
            The settings in force, and for each of these where it comes from.
        """
        return self, {}

    def idle(self, candidates: Candidates, calibration: CalibrationRecord | None = None) -> str | None:
        """Why the complexity that is measured decides nothing with these settings, or None.

        Args:
            candidates: what is chosen from.
            calibration: says how complex images are; None for what was published.
        """
        return None


class Pruner(nn.Module):
    """Chooses, or mixes, tokens. Static shapes, no branch on a tensor's value, ties to the lowest index.

    Args:
        config: resolved.
        candidates: what it chooses from; a budget above their number is cut down to it.
    """

    method: Method

    def __init__(self, config: Any, candidates: Candidates) -> None:
        super().__init__()
        self.config, self.candidates = config, candidates
        self.keep: int = min(config.keep, candidates.n)

    def __call__(self, tokens: Tokens) -> Selection:
        """Choose; what comes out is held to the contract, but not inside a graph that is being captured.

        Raises:
            ContractError: the pruner returned what its `Method` does not promise.
        """
        selection: Selection = super().__call__(tokens)
        if capturing():
            return selection
        fault = _fault(selection, self.method, self.candidates.n, tokens.hidden.shape[0])
        if fault is not None:
            name = type(self).__module__.rpartition(".")[2]
            raise ContractError(f"pruners/{name}.py is at fault, not the model or the images: {fault}")
        return selection

    def forward(self, tokens: Tokens) -> Selection:
        """Choose; see `Selection`."""
        raise NotImplementedError


def _fault(selection: Selection, method: Method, n: int, batch: int) -> str | None:
    """What is wrong with a selection, or None."""
    kept, mix, count = selection.kept, selection.mix, selection.num_kept
    if (mix is not None) != method.merges:
        return f"it returned {'no' if mix is None else 'a'} mixture, and its method says merges={method.merges}"
    measured = {name: getattr(selection, name) for name in ("erank", "attention_entropy")}
    carried = tuple(name for name, values in measured.items() if values is not None)
    if carried != method.measures:
        return f"it measured {', '.join(carried) or 'nothing'}, and its method says measures={method.measures}"
    lowest = -1 if method.merges else 0
    faults = [
        _misfit("kept", kept, WHOLE, (batch, method.slots)) or _outside("kept", kept, lowest, n - 1),
        count is not None
        and (_misfit("num_kept", count, WHOLE, (batch,)) or _outside("num_kept", count, 1, method.slots)),
        mix is not None and _misfit("mix", mix, WIDE, (batch, method.slots, n + ("cls" in method.needs))),
        *(_misfit(name, measured[name], WIDE, (batch,)) for name in carried),
    ]
    return next((fault for fault in faults if fault), None)


def _misfit(name: str, values: Tensor, dtypes: tuple[torch.dtype, ...], shape: tuple[int, ...]) -> str | None:
    if values.dtype in dtypes and tuple(values.shape) == shape:
        return None
    wanted = " or ".join(str(dtype).removeprefix("torch.") for dtype in dtypes)
    return f"{name} is {str(values.dtype).removeprefix('torch.')} {list(values.shape)}, not {wanted} {list(shape)}"


def _outside(name: str, values: Tensor, low: int, high: int) -> str | None:
    least, most = int(values.min()), int(values.max())
    return None if low <= least and most <= high else f"{name} goes from {least} to {most}, not from {low} to {high}"


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


def settings_of(name: str) -> tuple[Setting, ...]:
    """Every setting of a pruner: default, what it must be, where the default comes from, what it means.

    Raises:
        UnknownNameError: no such pruner.
    """
    return described(rooms.load("pruners", name).Config)
