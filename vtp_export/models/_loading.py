"""Fill a front end from a checkpoint."""

from collections.abc import Mapping

import torch
from torch import Tensor

from vtp_export.errors import ModelError
from vtp_export.models._checkpoint import Checkpoint, digest, size_in_bytes
from vtp_export.models._clip import FOLLOWING
from vtp_export.models._frontend import ClipFrontend
from vtp_export.models.base import LoadedModel
from vtp_export.runtime.preprocess import clip_preprocessing, preprocessing_from_config
from vtp_export.spec import ModelRecord, Preprocessing

TOWER_MARK = "embeddings.class_embedding"
PROJECTOR_MARK = "multi_modal_projector.linear_1.weight"
EXTRA = "tower.following."
"""Where the weights stand that only some signals take."""

PLAIN = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def filled(frontend: ClipFrontend, checkpoint: Checkpoint, family: str) -> LoadedModel:
    """Read exactly the tensors that the (empty) front end has, as float32, and put them in place.

    Raises:
        ModelError: a tensor is missing, is quantised or has another shape than the config says.
    """
    tower = checkpoint.prefix(TOWER_MARK, "CLIP vision tower")
    following = f"{tower}encoder.layers.{max(frontend.tower.states)}."
    prefixes = {EXTRA: following, "tower.": tower}
    if frontend.projector is not None:
        before = checkpoint.prefix(PROJECTOR_MARK, "two-layer multi-modal projector")
        prefixes["projector."] = before + "multi_modal_projector."
    wanted = {}
    for name in frontend.state_dict():
        part = next(part for part in prefixes if name.startswith(part))
        wanted[prefixes[part] + name.removeprefix(part)] = name
    tensors = checkpoint.read(wanted)
    _check_tensors(frontend.state_dict(), tensors, checkpoint.id)
    frontend.load_state_dict({name: tensor.float() for name, tensor in tensors.items()}, assign=True)
    preprocessing = _preprocessing(checkpoint, frontend.tower.config.image_size)
    return loaded(frontend, tensors, preprocessing, (checkpoint.id, checkpoint.revision, family))


def loaded(
    frontend: ClipFrontend,
    tensors: Mapping[str, Tensor],
    preprocessing: Preprocessing,
    source: tuple[str, str | None, str],
) -> LoadedModel:
    """A filled front end, ready to use.

    Args:
        frontend: with its weights.
        tensors: all of them by name, as they were read.
        preprocessing: of its images.
        source: id, revision and family.
    """
    model_id, revision, family = source

    def record(read: Mapping[str, Tensor]) -> ModelRecord:
        return ModelRecord(
            id=model_id,
            revision=revision,
            family=family,
            weights_sha256=digest(read),
            weights_bytes=size_in_bytes(read.values()),
            saliency=frontend.saliency,
        )

    core = {name: tensor for name, tensor in tensors.items() if not name.startswith(EXTRA)}
    return LoadedModel(
        module=frontend.requires_grad_(False).eval(),
        preprocessing=preprocessing,
        core=record(core),
        extra=record(tensors) if len(tensors) > len(core) else None,
        beyond=FOLLOWING,
    )


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
