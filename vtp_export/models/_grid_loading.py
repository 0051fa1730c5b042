"""Fill a front end of one grid from a checkpoint of a model of any resolution."""

import dataclasses
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vtp_export.errors import ModelError, SpecError, shown
from vtp_export.models._checkpoint import IMAGE_PROCESSOR, PROCESSOR, Checkpoint
from vtp_export.models._config import LARGEST, activation, whole_number
from vtp_export.models._grid_frontend import GridFrontend
from vtp_export.models._grid_tower import GridTowerConfig
from vtp_export.models._loading import loaded
from vtp_export.models._sizes import AskedSize, settled
from vtp_export.models._weights import Weights, released_name
from vtp_export.models.base import LoadedModel
from vtp_export.resolutions import AnyResolution
from vtp_export.runtime.preprocess import preprocessing_from_config
from vtp_export.runtime.processor_defaults import ANY_RESOLUTION, DEFAULTS
from vtp_export.runtime.resolution import resolution_from_config
from vtp_export.spec import Preprocessing

MARK = "patch_embed.proj.weight"
"""How the name of a tensor ends that each such tower has, and no other part of a model."""

WIDEST = 1 << 16

FRAMES, TWO = "temporal_patch_size", 2
"""How many frames a patch is of, and what Hugging Face assumes where that is left out."""


@dataclass(frozen=True, kw_only=True)
class GridFamily:
    """What towers of one `model_type` have in common.

    family: the `model_type`. what: for messages.
    config: from a `vision_config` to what shapes the tower. width: from it to the channels of the language model.
    names: parts of our names, and of the released ones.
    processor: the settings of its image processor where no file tells them. prepared_as: whose these are.
    """

    family: str
    what: str
    config: Callable[[Mapping[str, Any]], GridTowerConfig]
    width: Callable[[Mapping[str, Any]], Any]
    names: tuple[tuple[str, str], ...]
    processor: Mapping[str, Any]
    prepared_as: str

    def own_name(self, name: str) -> str:
        """Of a tensor in the checkpoint, less its prefix."""
        return released_name(name, (*SHARED_NAMES, *self.names))


SHARED_NAMES = (
    ("tower.patch_embedding.", "patch_embed.proj."),
    ("tower.position_embedding.", "pos_embed."),
    ("tower.", ""),
    ("projector.", "merger."),
)


def numbers(raw: Mapping[str, Any], defaults: Mapping[str, int]) -> dict[str, int]:
    """Whole numbers of a `vision_config`, or what Hugging Face assumes where it has none.

    Raises:
        ModelError: one that no tower can have.
    """
    bounds = {"depth": 1 << 10, "num_heads": 1 << 10, "temporal_patch_size": 16, "spatial_merge_size": 64}
    return {
        name: whole_number(
            f"{name} of the vision tower", raw.get(name, default), {**LARGEST, **bounds}.get(name, WIDEST)
        )
        for name, default in defaults.items()
    }


def divided(config: GridTowerConfig, raw: Mapping[str, Any]) -> GridTowerConfig:
    """The same, if its sizes divide and its activation is known.

    Raises:
        ModelError: they do not; or the tower reads other than three channels, or turns other than by two axes.
    """
    if config.hidden_size % (4 * config.heads):
        raise ModelError(
            f"the vision tower's sizes do not divide: width {config.hidden_size} by {config.heads} heads, and each of "
            "them by 4"
        )
    if (channels := raw.get("in_channels", raw.get("in_chans", 3))) != 3:
        raise ModelError(f"the vision tower reads {shown(channels)} channels; only RGB towers (3) are supported")
    activation(config.hidden_act)
    rope = raw.get("rope_parameters") or {}
    theta: Any = rope.get("rope_theta", config.theta) if isinstance(rope, dict) else None
    if type(theta) not in (int, float) or not 1 < theta < 1e12 or rope.get("rope_type", "axial") != "axial":
        raise ModelError(f"rope_parameters of the vision tower are {shown(rope)}; axial ones are needed")
    return dataclasses.replace(config, theta=float(theta))


def load_grid(
    checkpoint: Checkpoint, needs: Collection[str], size: AskedSize | None, family: GridFamily
) -> LoadedModel:
    """Load the tower and the merger for one grid; the language model is never read.

    Args:
        checkpoint: where.
        needs: signals that it must be able to give.
        size: what it is to be built for.
        family: of the model.

    Raises:
        ModelError: no size that pictures can have, a signal that it cannot give, a missing or unfit tensor, or an image
            processor that does not fit.
    """
    raw = checkpoint.section("vision_config") or {}
    config = family.config(raw)
    width = whole_number("the language model's width in the vision_config", family.width(raw), WIDEST)
    grid, preprocessing, notes = _preprocessing(checkpoint, config, raw.get(FRAMES, TWO), size, family)
    with torch.device("meta"):  # placeholders without memory; constants of the grid are on the CPU by themselves
        frontend = GridFrontend(config, grid, width, needs).eval()
    weights = Weights(checkpoint)
    prefix = weights.prefixes({family.what: MARK})[family.what]
    _refuse_other_frames(checkpoint, raw, prefix + MARK, weights.shape(prefix + MARK))
    wanted = {prefix + family.own_name(name): name for name in frontend.state_dict()}
    tensors = ((name, _fitted(name, tensor)) for name, tensor in weights.read(wanted))
    model = loaded(
        frontend,
        tensors,
        preprocessing,
        id=checkpoint.id,
        revision=checkpoint.revision,
        family=family.family,
        grid=grid,
    )
    return dataclasses.replace(model, folder=checkpoint.folder, notes=notes)


def _refuse_other_frames(checkpoint: Checkpoint, raw: Mapping[str, Any], name: str, shape: tuple[int, ...]) -> None:
    asked = raw.get(FRAMES, TWO)
    if len(shape) == 5 and shape[2] != asked:
        raise ModelError(
            f"tensor {name} of '{checkpoint.id}' is for {shape[2]} frames, but its config.json says {asked} ({FRAMES})"
        )


def _fitted(name: str, tensor: Tensor) -> Tensor:
    """All frames of a still picture are the same: the sum over them of the patch embedding sees one."""
    if name.endswith("patch_embedding.weight") and tensor.dim() == 5:
        return tensor.float().sum(2)
    return tensor


def size_rule(checkpoint: Checkpoint, family: GridFamily) -> AnyResolution:
    """How the image processor of a checkpoint gives every picture a size; no tensor is read.

    Raises:
        ModelError: it cannot be used.
    """
    values, file, _ = _settings(checkpoint, family)
    try:
        return resolution_from_config(values)
    except SpecError as error:
        raise ModelError(f"{file} of '{checkpoint.id}' cannot be used: {error}") from error


def _settings(checkpoint: Checkpoint, family: GridFamily) -> tuple[dict[str, Any], str, tuple[str, ...]]:
    """Of the image processor, the file that they stand in, and a note where there is none."""
    settings = checkpoint.image_processor()
    if settings is not None:
        return *settings, ()
    note = f"'{checkpoint.id}' has no {PROCESSOR} or {IMAGE_PROCESSOR}: images are prepared as for "
    return dict(family.processor), "the usual image processor", (note + family.prepared_as,)


def _preprocessing(
    checkpoint: Checkpoint, config: GridTowerConfig, frames: int, size: AskedSize | None, family: GridFamily
) -> tuple[tuple[int, int], Preprocessing, tuple[str, ...]]:
    """The grid, its preprocessing, and what the user should know of it."""
    values, file, notes = _settings(checkpoint, family)
    try:
        rule = resolution_from_config(values)
        sizes = {"patch_size": config.patch, "merge_size": config.merge, FRAMES: frames}
        for name, own in sizes.items():
            _refuse_other(name, values, own)
        grid, rule = settled(size, rule, checkpoint.id)
        edges = {"height": grid[0] * rule.token, "width": grid[1] * rule.token}
        prep = preprocessing_from_config({**values, "size": edges}, None, ANY_RESOLUTION)
    except SpecError as error:
        raise ModelError(f"{file} of '{checkpoint.id}' cannot be used: {error}") from error
    note = (
        f"the graph is for pictures of {grid[0]} x {grid[1]} tokens ({edges['width']} x {edges['height']} pixels): "
        "others are refused, or stretched where --nearest-grid asks for it or a model is only measured"
    )
    return grid, dataclasses.replace(prep, any_resolution=rule), (*notes, note)


def _refuse_other(name: str, values: Mapping[str, Any], own: int) -> None:
    written = values.get(name)
    written = DEFAULTS[ANY_RESOLUTION][name] if written is None else written
    if written != own:
        raise SpecError(f"its {name} is {shown(written)}, and that of the vision tower is {own}")
