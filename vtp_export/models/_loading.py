"""Fill a front end from a checkpoint."""

import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from vtp_export.errors import ModelError, SpecError
from vtp_export.models._checkpoint import IMAGE_PROCESSOR, PROCESSOR, Checkpoint
from vtp_export.models._config import TowerConfig
from vtp_export.models._fingerprint import Fingerprint
from vtp_export.models._frontend import VisionFrontend
from vtp_export.models._grid_frontend import GridFrontend
from vtp_export.models._projectors import ProjectorConfig
from vtp_export.models._tower import FOLLOWING
from vtp_export.models._towers import TowerFamily
from vtp_export.models._weights import Weights
from vtp_export.models.base import LoadedModel, Tiling
from vtp_export.runtime.pinpoints import tiled
from vtp_export.runtime.preprocess import preprocessing_from_config, usual_preprocessing
from vtp_export.runtime.processor_config import fixed_size
from vtp_export.spec import Filling, Framing, ModelRecord, Preprocessing

NEWLINE, NEWLINE_MARK = "newline vector", "image_newline"

EXTRA = "tower.following."
"""Where the weights stand that only some signals take."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Parts:
    """What a family reads of a checkpoint.

    family: of the model. tower: of its tower; config: what shapes it.
    states, normed, keep_cls: see `VisionFrontend`. projector: what shapes it, or None for a bare tower.
    processor: the image processor that Transformers takes where no file names one.
    prepared_as: whose preprocessing its images get where no file says, if not the tower's.
    published: see `LoadedModel`.
    filling: see `Preprocessing`; None where a picture is one view. Where it is fitted, a newline vector is read too.
    pinpoints: see `Preprocessing`, where `config.json` says. anyres_max, framing: see `Tiling`.
    """

    family: str
    tower: TowerFamily
    config: TowerConfig
    states: Sequence[int]
    normed: bool = False
    keep_cls: bool = False
    projector: ProjectorConfig | None = None
    processor: str
    prepared_as: str | None = None
    published: bool = False
    filling: Filling | None = None
    pinpoints: tuple[tuple[int, int], ...] = ()
    anyres_max: int | None = None
    framing: Framing = "none"


def shape_of(weights: Weights, projector: type[ProjectorConfig], last: str) -> tuple[int, ...]:
    """Shape of a tensor of the projector.

    Args:
        weights: where.
        projector: of which kind.
        last: its name in the projector.

    Raises:
        ModelError: there is no such projector.
    """
    before = weights.prefixes({projector.what: projector.mark})[projector.what]
    return weights.shape(f"{before}{projector.root}{last}")


def load_bare(
    checkpoint: Checkpoint, raw: Mapping[str, Any], needs: Collection[str], *, family: str, tower: TowerFamily
) -> LoadedModel:
    """A tower alone, whose tokens are its last hidden state.

    Args:
        checkpoint: where.
        raw: what describes the tower.
        needs: signals that it must be able to give.
        family: of the model.
        tower: of its tower.

    Raises:
        ModelError: as `load_parts`.
    """
    config = tower.config(raw)
    parts = Parts(
        family=family,
        tower=tower,
        config=config,
        states=(config.num_hidden_layers,),
        normed=True,
        processor=tower.processor,
    )
    return load_parts(checkpoint, Weights(checkpoint), parts, needs)


def load_parts(checkpoint: Checkpoint, weights: Weights, parts: Parts, needs: Collection[str]) -> LoadedModel:
    """Read exactly the tensors that the front end has, as float32, and put them in place.

    Raises:
        ModelError: a signal in `needs` that it cannot give; a tensor is missing, is quantised, not finite or has
            another shape than the config says; an image processor that does not fit.
    """
    preprocessing, notes = _preprocessing(checkpoint, parts)
    config = parts.config
    if parts.tower.any_size:
        config = dataclasses.replace(config, image_size=_edge(checkpoint, config, preprocessing))
    with torch.device("meta"):  # placeholders without memory
        frontend = VisionFrontend(
            config,
            parts.states,
            normed=parts.normed,
            keep_cls=parts.keep_cls,
            projector=parts.projector,
            needs=needs,
        ).eval()
    tensors = (
        (name, _fitted(name, tensor, parts, config)) for name, tensor in weights.read(_wanted(frontend, weights, parts))
    )
    model = loaded(
        frontend,
        tensors,
        preprocessing,
        id=checkpoint.id,
        revision=checkpoint.revision,
        family=parts.family,
    )
    tiling = model.tiling
    if parts.filling is not None:
        newline = None if tiling is None else tiling.newline
        tiling = Tiling(newline=newline, anyres_max=parts.anyres_max, framing=parts.framing)
    return dataclasses.replace(model, published=parts.published, folder=checkpoint.folder, tiling=tiling, notes=notes)


def _fitted(name: str, tensor: Tensor, parts: Parts, config: TowerConfig) -> Tensor:
    """What the front end has in place of a tensor of the checkpoint."""
    if name.startswith("tower."):
        return parts.tower.fitted(name, tensor, config)
    assert parts.projector is not None
    return parts.projector.fitted(name.removeprefix("projector."), tensor)


def _wanted(frontend: VisionFrontend, weights: Weights, parts: Parts) -> dict[str, str]:
    """Names in the checkpoint to names in the front end, and to `NEWLINE`."""
    family, projector = parts.tower, parts.projector
    marks = {family.what: family.mark}
    if projector is not None:
        marks[projector.what] = projector.mark
    if parts.filling == "fit":
        marks[NEWLINE] = NEWLINE_MARK
    before = weights.prefixes(marks)
    following = f"tower.encoder.layers.{max(frontend.tower.states)}."
    wanted = {before[NEWLINE] + NEWLINE_MARK: NEWLINE} if parts.filling == "fit" else {}
    for name in frontend.state_dict():
        if name.startswith("projector."):
            assert projector is not None
            own = projector.own_name(name.removeprefix("projector."))
            wanted[f"{before[projector.what]}{projector.root}{own}"] = name
        else:
            own = following + name.removeprefix(EXTRA) if name.startswith(EXTRA) else name
            wanted[before[family.what] + family.own_name(own.removeprefix("tower."))] = name
    return wanted


def loaded(  # noqa: PLR0913 (what the record tells)
    frontend: VisionFrontend | GridFrontend,
    tensors: Iterable[tuple[str, Tensor]],
    preprocessing: Preprocessing,
    *,
    id: str,
    revision: str | None,
    family: str,
    grid: tuple[int, int] | None = None,
) -> LoadedModel:
    """A front end with its weights, ready to use.

    Args:
        frontend: its own weights are replaced.
        tensors: all of them by name, in the order of the names, and perhaps `NEWLINE`; what is kept of each is a copy.
        preprocessing: of its images.
        id: of the model, as it was given.
        revision: on the hub.
        family: its model_type.
        grid: (rows, columns) of tokens, where the same weights may be used at others: what is measured at one grid
            is not of another.

    Raises:
        ModelError: a tensor has another shape than the front end's.
    """
    expected = frontend.state_dict() | {NEWLINE: torch.empty(frontend.width)}
    core, whole = Fingerprint(), Fingerprint()
    if grid is not None:
        core.mark(f"grid {grid}")
    extra = any(name.startswith(EXTRA) for name in expected)
    state = {}
    for name, tensor in tensors:
        _check_shape(name, tensor, expected[name], id)
        if not name.startswith(EXTRA):
            core.add(name, tensor)
        if extra:
            whole.add(name, tensor)
        state[name] = tensor.to(torch.float32, copy=True, memory_format=torch.contiguous_format)
    vector = state.pop(NEWLINE, None)
    frontend.load_state_dict(state, assign=True)

    def record(fingerprint: Fingerprint) -> ModelRecord:
        return ModelRecord(
            id=id,
            revision=revision,
            family=family,
            weights_sha256=fingerprint.sha256,
            weights_bytes=fingerprint.bytes,
            saliency=frontend.saliency,
        )

    return LoadedModel(
        module=frontend.requires_grad_(False).eval(),
        preprocessing=preprocessing,
        core=record(core),
        extra=record(whole) if extra else None,
        beyond=FOLLOWING,
        tiling=None if vector is None else Tiling(newline=vector, anyres_max=None, framing="none"),
    )


def _check_shape(name: str, tensor: Tensor, expected: Tensor, model_id: str) -> None:
    if tensor.shape != expected.shape:
        raise ModelError(
            f"tensor {name} of '{model_id}' has shape {list(tensor.shape)}, "
            f"but its config.json asks for {list(expected.shape)}"
        )


def _preprocessing(checkpoint: Checkpoint, parts: Parts) -> tuple[Preprocessing, tuple[str, ...]]:
    """From whichever file the checkpoint keeps it in; the tower's usual one, and a note, when it keeps none."""
    settings, edge = checkpoint.image_processor(), parts.config.image_size
    whose = parts.prepared_as or parts.tower.prepared_as
    if settings is None:
        files = f"{PROCESSOR} or {IMAGE_PROCESSOR}"
        lack = f"no {files} of '{checkpoint.id}' is in the local cache, and the hub cannot be reached"
        if not checkpoint.unasked & {PROCESSOR, IMAGE_PROCESSOR}:
            lack = f"'{checkpoint.id}' has no {files}"
        note = f"{lack}: images are prepared as for {whose}, at {edge} pixels"
        usual = usual_preprocessing(whose, edge)
        return (tiled(usual, edge, parts.pinpoints) if parts.pinpoints else usual), (note,)
    config, file = settings
    named = checkpoint.config.get("image_processor_type")
    try:
        size = None if parts.tower.any_size else edge
        return preprocessing_from_config(config, size, named or parts.processor, parts.pinpoints, parts.filling), ()
    except SpecError as error:
        raise ModelError(f"{file} of '{checkpoint.id}' cannot be used: {error}") from error


def _edge(checkpoint: Checkpoint, config: TowerConfig, preprocessing: Preprocessing) -> int:
    """Of the images that the image processor makes, for a tower that takes any.

    Raises:
        ModelError: they are no squares, or smaller than a patch.
    """
    size = fixed_size(preprocessing)
    assert size is not None  # or its settings were refused
    height, width = size
    if height != width or height < config.patch_size:
        raise ModelError(
            f"the image processor of '{checkpoint.id}' gives {height} x {width} pixels; squares of at least "
            f"{config.patch_size} are needed"
        )
    return height
