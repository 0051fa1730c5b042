"""Names and settings in, the graph out; shared by every command that needs torch."""

import dataclasses
import shlex
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vtp_export import rooms
from vtp_export.arguments import kind_of, path_of
from vtp_export.calibrations import CalibrationRecord, calibration_from_json
from vtp_export.errors import ModelError, SpecError, shown
from vtp_export.graphs.pruned import PrunedFrontend
from vtp_export.json_records import digest_of, read_text
from vtp_export.models._sizes import AskedSize
from vtp_export.models.base import LoadedModel
from vtp_export.settings import from_settings
from vtp_export.spec import Layout, ModelRecord, PrunerRecord

if TYPE_CHECKING:
    from vtp_export.models._checkpoint import Checkpoint

WEIGHTS = rooms.PACKAGE / "weights"
"""Checkpoints that come with this package: one Hugging Face folder each, named after the model."""

PUBLISHED = 576
"""Visual tokens of the model that published numbers are of."""

ANY = 100
"""Tokens that a share is taken of where the number does not matter: what a pruner reads is the same for each budget."""

CALIBRATION = "calibration.json"
"""The calibration record that a checkpoint may carry."""


@dataclass(frozen=True, kw_only=True)
class Assembly:
    """A graph with what the manifest says of it. `notes` are sentences that the user should read."""

    graph: PrunedFrontend
    model: ModelRecord
    pruner: PrunerRecord
    layout: Layout
    notes: tuple[str, ...]


def load_model(
    model: str | Path,
    needs: Collection[str] = (),
    revision: str | None = None,
    size: AskedSize | None = None,
) -> LoadedModel:
    """Load a front end by embedded name, local folder or hub id.

    Args:
        model: which; a `Path`, and a text with a slash, is a folder before it is anything else.
        needs: signals that it must be able to give; see `needs_of`.
        revision: commit, branch or tag on the hub.
        size: what a model of any resolution is to be built for.

    Raises:
        ModelError: none of the three, or not loadable; a revision of what has none, or a size of what has one.
    """
    name = name_of(model)
    room, checkpoint = room_of(name, revision)
    sizes = (size,) if getattr(room, "ANY_SIZE", False) else ()
    if not sizes:
        refuse_size(name, size)
    loaded: LoadedModel = room.load(checkpoint, needs, *sizes)
    return loaded


def room_of(name: str, revision: str | None) -> tuple[Any, Any]:
    """The file of a model's family, and its checkpoint, which one that draws its weights has not; as `load_model`."""
    if name in _drawn_models():
        _refuse_revision(name, revision)
        return rooms.load("models", name), None
    checkpoint = _checkpoint(name, revision)
    family = checkpoint.config.get("model_type")
    families = [family for family in rooms.names("models") if family not in _drawn_models()]
    if family not in families:
        kind = "model without a model_type" if family in (None, "") else shown(family)
        raise ModelError(f"'{name}' is a {kind}; supported: {', '.join(families)}")
    return rooms.load("models", family), checkpoint


def name_of(model: str | Path) -> str:
    """How a model is written so that it stays what it is: a `Path` without a slash gets one.

    Example:
        >>> name_of(Path("tiny-llava")), name_of("tiny-llava")
        ('./tiny-llava', 'tiny-llava')

    Raises:
        SpecError: no name.
        ModelError: a name that is no Unicode text, as a file's may be; no manifest could hold it.
    """
    path_of("the model", model)
    name = f"./{model}" if isinstance(model, Path) and len(model.parts) == 1 else str(model)
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise ModelError(f"the name {shown(name)} is no UTF-8 text; rename the folder") from error
    return name


def _checkpoint(name: str, revision: str | None) -> "Checkpoint":
    from vtp_export.models._checkpoint import folder_checkpoint
    from vtp_export.models._hub import hub_checkpoint

    folder = Path(source_of(name))
    if kind_of("the model", folder) == "folder":
        _refuse_revision(name, revision)
        return folder_checkpoint(folder, name)
    if name.count("/") == 1 and not name.startswith((".", "/", "~")) and all(name.split("/")):
        return hub_checkpoint(name, revision)
    raise ModelError(
        f"no model '{name}': not a folder, not a hub id (owner/name), not embedded ({', '.join(embedded_models())})"
    )


def _refuse_revision(name: str, revision: str | None) -> None:
    if revision is not None:
        raise ModelError(f"'{name}' is no model of the hub and has no revision '{revision}'; leave --revision out")


def refuse_size(name: str, size: AskedSize | None) -> None:
    """See that nothing is asked of a model whose pictures have one size."""
    if size is not None and not size.of_artefact:
        raise ModelError(f"'{name}' takes pictures of one size; leave --grid, --image-size and --max-tokens out")


def source_of(model: str | Path) -> str:
    """What Transformers is to load for a model of that name: the folder of an embedded one, else the name itself.

    One that draws its weights has no such folder, and one of the user's that has its name is another model's.
    """
    name = name_of(model)
    return str(WEIGHTS / name) if name in embedded_models() else name


def embedded_models() -> list[str]:
    """Models that need no download, by name; found without importing torch."""
    return sorted([*_drawn_models(), *(path.parent.name for path in WEIGHTS.glob("*/config.json"))])


def _drawn_models() -> list[str]:
    """Model files that draw their weights themselves."""
    folder = rooms.PACKAGE / "models"
    return [name for name in rooms.names("models") if "\nEMBEDDED = True\n" in (folder / f"{name}.py").read_text()]


def calibration_for(
    model: LoadedModel, path: str | Path | None, pruner: str, settings: Mapping[str, Any]
) -> tuple[CalibrationRecord | None, tuple[str, ...]]:
    """The record that was named, or the one that lies beside an embedded or local model's weights.

    Args:
        model: whose images were measured.
        path: of a record that was named; None looks beside the weights, but only for a pruner that reads one.
        pruner: who is to read it.
        settings: of the pruner.

    Returns:
        The record, or None, and notes for the user: a file of that name which another program wrote is passed over.

    Raises:
        SpecError: the record that was named cannot be read, or it was made for other weights.
    """
    if path is None:
        room = rooms.load("pruners", pruner)
        beside = None if model.folder is None else model.folder / CALIBRATION
        if (
            beside is None
            or not beside.is_file()
            or not from_settings(room.Config, in_tokens(settings, ANY)).calibrated
        ):
            return None, ()
        try:
            record = read_calibration(beside)
        except SpecError as error:
            return None, (f"{error}; it is passed over, and published numbers are used instead",)
        path = beside
    else:
        record = read_calibration(path_of("the calibration record", path))
    if reason := record.unfit(model.core.id, model.core.weights_sha256, digest_of(model.preprocessing)):
        raise SpecError(f"the calibration record '{path}' {reason}")
    return record, ()


def read_calibration(path: Path) -> CalibrationRecord:
    """A record; errors (`SpecError`) name the file."""
    text = read_text(path, f"the calibration record '{path}'")
    try:
        return calibration_from_json(text)
    except SpecError as error:
        raise SpecError(f"the calibration record '{path}' cannot be used: {error}") from error


def in_tokens(settings: Mapping[str, Any], candidates: int) -> dict[str, Any]:
    """Settings whose budget, where it is a share, is a number of tokens.

    Args:
        settings: of a pruner.
        candidates: how many tokens the model has.

    Raises:
        SpecError: a share that is none.

    Example:
        >>> in_tokens({"keep": "12.5%"}, 576)
        {'keep': 72}
    """
    keep = settings.get("keep")
    if not (isinstance(keep, str) and keep.strip().endswith("%")):
        return dict(settings)
    try:
        share = float(keep.strip().removesuffix("%"))
    except ValueError:
        share = 0.0
    if not 0 < share <= 100:
        raise SpecError(f"keep is '{keep}'; a share must be above 0% and at most 100%")
    return {**settings, "keep": max(1, round(share / 100 * candidates))}


def needs_of(pruner: str, settings: Mapping[str, Any]) -> frozenset[str]:
    """The signals that a pruner reads: what a model is to be loaded for.

    Raises:
        UnknownNameError: no such pruner or setting.
        SpecError: a setting out of range.
    """
    room = rooms.load("pruners", pruner)
    needs: frozenset[str] = room.needs(from_settings(room.Config, in_tokens(settings, ANY)))
    return needs


def assemble(
    model: LoadedModel, pruner: str, settings: Mapping[str, Any], calibration: CalibrationRecord | None = None
) -> Assembly:
    """Put a pruner into the front end of a model that was loaded for it.

    Settings with a calibrated default take it from the record, where there is one.

    A budget of all tokens or more is no pruning: the graph of `none` is built, and a note says so.

    Raises:
        UnknownNameError: no such pruner or setting.
        SpecError: a setting out of range; a setting whose default is published for LLaVA-1.5 alone.
        ModelError: the model does not give what the pruner reads.
    """
    candidates = model.frontend.candidates
    room = rooms.load("pruners", pruner)
    config = from_settings(room.Config, in_tokens(settings, candidates.n))
    notes = list(model.notes)
    if config.budget is None and "keep" in settings:
        notes.append(f"{pruner} takes no budget with these settings: keep, {settings['keep']}, decides nothing")
    if config.budget is not None and config.budget >= candidates.n:
        notes.append(f"keep is {config.budget} and the model has {candidates.n} visual tokens: nothing is pruned")
        pruner, room = "none", rooms.load("pruners", "none")
        config = room.Config()
    if config.calibrated and calibration is None and not model.published:
        measure = f"vtp-export calibrate {shlex.quote(model.core.id)} --images photos --out calibration.json"
        raise SpecError(
            f"{pruner} goes by the complexity of an average image, and only LLaVA-1.5's is published, which "
            f"'{model.core.id}' is not: measure its own with '{measure}' (or on a folder of your own images), "
            "and name that file with --calibration"
        )
    if config.calibrated and calibration is None and candidates.n != PUBLISHED:
        notes.append(
            f"{pruner} is set by numbers that were published for LLaVA-1.5 with {PUBLISHED} visual tokens, and this "
            f"model has {candidates.n}: measure its own with 'vtp-export calibrate', and export with --calibration"
        )
    config, origins = config.resolved(calibration)
    if idle := config.idle(candidates, calibration):
        notes.append(idle)
    graph = PrunedFrontend(model.frontend, room.Pruner(config, candidates))
    graph.requires_grad_(False).eval()
    method = graph.pruner.method
    return Assembly(
        graph=graph,
        model=model.record(method.needs),
        pruner=PrunerRecord(pruner, dataclasses.asdict(config), origins, method.ascending),
        layout=Layout(
            candidates=candidates,
            image_size=model.frontend.image_size,
            patch=model.frontend.patch,
            keep=config.budget,
            slots=method.slots,
        ),
        notes=tuple(notes),
    )
