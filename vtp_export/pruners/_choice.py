"""Which pruners with which settings stand beside each other in a comparison."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vtp_export import rooms
from vtp_export.errors import SpecError
from vtp_export.settings import from_settings, shared_out


@dataclass(frozen=True)
class Choice:
    """A pruner, and what is set of it besides its budget.

    label: its name, and of the settings those that are not at their default.
    """

    pruner: str
    settings: dict[str, Any]
    label: str


def choices(pruners: Sequence[str], settings: Mapping[str, Any]) -> list[Choice]:
    """Every pruner with every combination of the values of the settings that it has.

    Args:
        pruners: names.
        settings: by name, a value or a list of them; a pruner without such a setting ignores it.

    Raises:
        UnknownNameError: no such pruner, or none of them has such a setting.
        SpecError: the budget is among the settings, or a value is of the wrong type or out of range.

    Example:
        >>> [one.label for one in choices(["random", "adaptive"], {"complexity": ["erank", "entropy"]})]
        ['random', 'adaptive', 'adaptive:complexity=entropy']
    """
    if "keep" in settings:
        raise SpecError("keep is no setting of a comparison: name the budgets with --keep")
    configs = {name: rooms.load("pruners", name).Config for name in pruners}
    wanted = []
    for name, own in shared_out(configs, settings).items():
        for values in itertools.product(*map(_values, own.values())):
            chosen = dict(zip(own, values, strict=True))
            wanted.append(Choice(name, chosen, _label(name, configs[name], chosen)))
    return wanted


def _values(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _label(name: str, config: type[Any], chosen: Mapping[str, Any]) -> str:
    default, settled = config(), from_settings(config, dict(chosen))
    pairs = [f"{key}={value}" for key, value in chosen.items() if getattr(settled, key) != getattr(default, key)]
    return f"{name}:{','.join(pairs)}" if pairs else name
