"""The methods of a comparison, each at a budget: pruners of the front end, and those inside the language model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vtp_export import rooms
from vtp_export.comparing.choices import choices, config_of, is_inside
from vtp_export.errors import ModelError, SpecError
from vtp_export.functional.devices import prepare
from vtp_export.graphs.assembly import assemble, calibration_for, in_tokens, load_model, needs_of
from vtp_export.graphs.complexity import SIGNALS
from vtp_export.graphs.eager import EagerSession
from vtp_export.graphs.packing import packed, packer_for
from vtp_export.inllm.base import Method
from vtp_export.integrations.transformers import Answerer
from vtp_export.models._sizes import size_of
from vtp_export.models.base import LoadedModel
from vtp_export.precision.lowering import loaded_in
from vtp_export.runtime.images import note
from vtp_export.runtime.packing import Packer
from vtp_export.settings import from_settings
from vtp_export.spec import Manifest, PrunerRecord

FULL = "none"
"""The pruner that keeps all: what methods are held against, and what those inside the language model read."""


@dataclass(frozen=True)
class Wanted:
    """What is to be tried: its label, a file of `pruners/` or `inllm/`, and its settings, the budget among them."""

    label: str
    method: str
    settings: dict[str, Any]

    @property
    def inside(self) -> bool:
        """Whether it prunes inside the language model."""
        return is_inside(self.method)


@dataclass(kw_only=True)
class Contender:
    """One method at one budget.

    name: what rows call it. budget: visual tokens.
    session, packer: make what the language model reads of a picture.
    record: its name and the settings in force, by which its answers are known again.
    within: what prunes inside the language model, None where the front end prunes.
    """

    name: str
    budget: int
    session: EagerSession
    packer: Packer
    record: PrunerRecord
    within: Method | None = None

    @property
    def label(self) -> str:
        """Its name, and its budget where it has one."""
        return self.name if self.name == FULL else f"{self.name} {self.budget}"


def wanted_of(names: Sequence[str], settings: Mapping[str, Any], keeps: Sequence[int | str]) -> list[Wanted]:
    """Every method with every combination of its settings at every budget, behind the one that keeps all.

    A method inside the language model whose settings say how many tokens stay has no other budget: it is there once.

    Raises:
        UnknownNameError: no such method, or none has such a setting.
        SpecError: a setting is out of range.
    """
    wanted = [Wanted(FULL, FULL, {})]
    for one in choices([name for name in names if name != FULL], settings):
        fixed = is_inside(one.method) and from_settings(config_of(one.method), one.settings).fixed
        wanted += [
            Wanted(one.label, one.method, {**one.settings, "keep": keep}) for keep in (keeps[:1] if fixed else keeps)
        ]
    return wanted


def signals_of(wanted: Sequence[Wanted]) -> frozenset[str]:
    """What must be read of a checkpoint."""
    needs = [needs_of(one.method, one.settings) for one in wanted if not one.inside]
    return SIGNALS.union(*needs)


def contenders_of(model: LoadedModel, wanted: Sequence[Wanted], calibration: str | Path | None) -> list[Contender]:
    """Build them; what they have to say is noted.

    Args:
        model: as it was loaded, on its device.
        wanted: the first keeps all.
        calibration: see `export`.

    Raises:
        VtpError: a method cannot be used with this model.
    """
    contenders: list[Contender] = []
    for one in wanted:
        if one.inside:
            contenders.append(_inside(one, contenders[0]))
            continue
        contender, remarks = _in_front(model, one, calibration)
        for sentence in remarks:
            note(sentence)
        contenders.append(contender)
    return contenders


def unpruned(model: str, like: Manifest | None, *, device: str, dtype: str, threads: int | None) -> Contender:
    """A model's whole front end, eager; of one of any resolution at an artefact's.

    Args:
        model: folder, hub id or embedded name.
        like: says the resolution; None for a model that has one.
        device: "cpu" or "cuda".
        dtype: what it computes with.
        threads: CPU threads, or None.

    Raises:
        VtpError: the model cannot be loaded.
    """
    prepare(device, threads)
    loaded = loaded_in(load_model(model, size=None if like is None else size_of(like)), dtype)
    loaded.module.to(device)
    return _in_front(loaded, Wanted(FULL, FULL, {}), None)[0]  # what it has to say is of graphs that are exported


def _in_front(model: LoadedModel, wanted: Wanted, calibration: str | Path | None) -> tuple[Contender, tuple[str, ...]]:
    """Its contender, and what there is to say of it."""
    device = next(model.module.parameters()).device.type
    record, remarks = calibration_for(model, calibration, wanted.method, wanted.settings)
    assembly = assemble(model, wanted.method, wanted.settings, record)
    contender = Contender(
        name=wanted.label,
        budget=assembly.layout.keep or assembly.layout.slots,
        session=EagerSession(assembly.graph.to(device), device),
        packer=packer_for(model, assembly.layout, packed(model, {})[1]),
        record=assembly.pruner,
    )
    return contender, (*remarks, *assembly.notes)


def _inside(wanted: Wanted, full: Contender) -> Contender:
    """It reads what `full` makes."""
    room = rooms.load("inllm", wanted.method)
    config = from_settings(room.Config, in_tokens(wanted.settings, full.budget), f"setting of {wanted.method}")
    if config.keep > full.budget:
        raise SpecError(f"keep is {config.keep} and a picture has {full.budget} visual tokens; name no more")
    return Contender(
        name=wanted.label,
        budget=config.keep,
        session=full.session,
        packer=full.packer,
        record=PrunerRecord(name=wanted.method, settings=dict(vars(config)), origins={}, ascending=True),
        within=room.Method(config),
    )


def settle(contenders: Sequence[Contender], answerer: Answerer) -> None:
    """See that methods inside the language model can do what is asked of them, before a question is.

    The budget of one whose settings say how many tokens stay is what they come to.

    Args:
        contenders: the first keeps all.
        answerer: its language model.

    Raises:
        SpecError: a budget is out of reach, or its settings do not fit the number of layers.
        ModelError: a method cannot prune in that language model.
    """
    for one in contenders:
        if one.within is None:
            continue
        try:
            answerer.refuse_unfit(one.within)
            mean = one.within.processed(contenders[0].budget, answerer.layers)
        except (SpecError, ModelError) as error:
            raise type(error)(f"{one.name} cannot be compared: {error}") from error
        if one.within.config.fixed:
            one.budget = round(mean)
