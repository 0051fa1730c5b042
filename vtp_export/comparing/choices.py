"""Which methods with which settings stand beside each other in a comparison."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vtp_export import rooms
from vtp_export.errors import SpecError, UnknownNameError
from vtp_export.settings import from_settings, shared_out


@dataclass(frozen=True)
class Choice:
    """A method, and what is set of it besides its budget.

    label: its name, and of the settings those that are not at their default.
    """

    method: str
    settings: dict[str, Any]
    label: str


def methods() -> list[str]:
    """Names of all that can be compared: pruners of the front end, and those inside the language model."""
    return sorted([*rooms.names("pruners"), *rooms.names("inllm")])


def is_inside(name: str) -> bool:
    """Whether a method prunes inside the language model.

    Raises:
        UnknownNameError: no such method.
    """
    if name in rooms.names("inllm"):
        return True
    if name not in rooms.names("pruners"):
        known = rooms.unknown("pruners", name)  # which may know it by its release
        raise known if "did you mean" in str(known) else UnknownNameError("pruner", name, methods())
    return False


def config_of(name: str) -> type[Any]:
    """The settings that a method has.

    Raises:
        UnknownNameError: no such method.
    """
    config: type[Any] = rooms.load("inllm" if is_inside(name) else "pruners", name).Config
    return config


def choices(names: Sequence[str], settings: Mapping[str, Any]) -> list[Choice]:
    """Every method with every combination of the values of the settings that it has.

    Args:
        names: of methods.
        settings: by name, a value or a list of them; a method without such a setting ignores it.

    Raises:
        UnknownNameError: no such method, or none of them has such a setting.
        SpecError: the budget is among the settings, or a value is of the wrong type or out of range.

    Example:
        >>> [one.label for one in choices(["random", "adaptive"], {"complexity": ["erank", "entropy"]})]
        ['random', 'adaptive', 'adaptive:complexity=entropy']
    """
    if "keep" in settings:
        raise SpecError("keep is no setting of a comparison: name the budgets with --keep")
    configs = {name: config_of(name) for name in names}
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
