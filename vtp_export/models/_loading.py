"""Fill a front end from a checkpoint."""

import functools
from collections.abc import Mapping

import torch
from torch import Tensor

from vtp_export.errors import ModelError
from vtp_export.models._checkpoint import Checkpoint, digest, size_in_bytes
from vtp_export.models._clip import ClipFollowing, ClipTower
from vtp_export.models._frontend import ClipFrontend
from vtp_export.models.base import LoadedModel
from vtp_export.runtime.preprocess import clip_preprocessing, preprocessing_from_config
from vtp_export.spec import ModelRecord, Preprocessing

TOWER_MARK = "embeddings.class_embedding"
PROJECTOR_MARK = "multi_modal_projector.linear_1.weight"
PLAIN = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def filled(frontend: ClipFrontend, checkpoint: Checkpoint, family: str) -> LoadedModel:
    """Read exactly the tensors that the (empty) front end has, as float32, and put them in place.

    Raises:
        ModelError: a tensor is missing, is quantised or has another shape than the config says.
    """
    prefixes = {"tower.": checkpoint.prefix(TOWER_MARK, "CLIP vision tower")}
    if frontend.projector is not None:
        before = checkpoint.prefix(PROJECTOR_MARK, "two-layer multi-modal projector")
        prefixes["projector."] = before + "multi_modal_projector."
    wanted = {}
    for name in frontend.state_dict():
        part = name[: name.index(".") + 1]
        wanted[prefixes[part] + name.removeprefix(part)] = name
    tensors = checkpoint.read(wanted)
    _check_tensors(frontend.state_dict(), tensors, checkpoint.id)
    record = ModelRecord(
        id=checkpoint.id,
        revision=checkpoint.revision,
        family=family,
        weights_sha256=digest(tensors),
        weights_bytes=size_in_bytes(tensors.values()),
    )
    frontend.load_state_dict({name: tensor.float() for name, tensor in tensors.items()}, assign=True)
    frontend.fetch_following = functools.partial(_following, frontend.tower, checkpoint, prefixes["tower."])
    return LoadedModel(
        frontend.requires_grad_(False).eval(), record, _preprocessing(checkpoint, frontend.tower.config.image_size)
    )


def _following(tower: ClipTower, checkpoint: Checkpoint, prefix: str) -> dict[str, Tensor]:
    """Weights of the `ClipFollowing` of a tower, by their names in it."""
    with torch.device("meta"):
        expected = ClipFollowing(tower.config).state_dict()
    before = f"{prefix}encoder.layers.{max(tower.states)}."
    tensors = checkpoint.read({before + name: name for name in expected})
    _check_tensors(expected, tensors, checkpoint.id)
    return tensors


def _check_tensors(expected: Mapping[str, Tensor], tensors: dict[str, Tensor], model_id: str) -> None:
    for name, like in expected.items():
        if tensors[name].shape != like.shape:
            raise ModelError(
                f"tensor {name} of '{model_id}' has shape {list(tensors[name].shape)}, "
                f"but its config.json asks for {list(like.shape)}"
            )
        # Quantised weights may have the right shape, and mean nothing without their scales.
        if tensors[name].dtype not in PLAIN:
            kind = str(tensors[name].dtype).removeprefix("torch.")
            raise ModelError(
                f"tensor {name} of '{model_id}' is {kind}: quantised weights are not supported; "
                "name the checkpoint in float32, float16 or bfloat16"
            )


def _preprocessing(checkpoint: Checkpoint, image_size: int) -> Preprocessing:
    """From whichever file the checkpoint keeps it in; CLIP's own constants when it keeps none."""
    config = checkpoint.json("preprocessor_config.json")
    if config is None:
        config = (checkpoint.json("processor_config.json") or {}).get("image_processor")
    return clip_preprocessing(image_size) if config is None else preprocessing_from_config(config, image_size)
