"""Fill a front end from a checkpoint."""

import dataclasses
from collections.abc import Iterable

import torch
from torch import Tensor

from vtp_export.errors import ModelError, SpecError
from vtp_export.models._checkpoint import IMAGE_PROCESSOR, PROCESSOR, Checkpoint
from vtp_export.models._clip import FOLLOWING
from vtp_export.models._frontend import ClipFrontend
from vtp_export.models._weights import Fingerprint, Weights
from vtp_export.models.base import LoadedModel
from vtp_export.runtime.preprocess import clip_preprocessing, preprocessing_from_config
from vtp_export.spec import ModelRecord, Preprocessing

TOWER, PROJECTOR = "CLIP vision tower", "two-layer multi-modal projector"
MARKS = {TOWER: "embeddings.class_embedding", PROJECTOR: "multi_modal_projector.linear_1.weight"}
"""How the name of a tensor ends that every one of them has."""

EXTRA = "tower.following."
"""Where the weights stand that only some signals take."""


def projector_width(weights: Weights) -> int:
    """Channels of the projector's output, from the shape of its last layer.

    Raises:
        ModelError: there is no such projector.
    """
    before = weights.prefixes(MARKS)[PROJECTOR]
    return weights.shape(f"{before}multi_modal_projector.linear_2.weight")[0]


def filled(
    frontend: ClipFrontend, checkpoint: Checkpoint, weights: Weights, *, family: str, processor: str
) -> LoadedModel:
    """Read exactly the tensors that the (empty) front end has, as float32, and put them in place.

    Args:
        frontend: see `loaded`.
        checkpoint: where they are from.
        weights: of it.
        family: its model_type.
        processor: the image processor that Transformers takes for it where no file names one.

    Raises:
        ModelError: a tensor is missing, is quantised, not finite or has another shape than the config says.
    """
    parts = dict(MARKS) if frontend.projector is not None else {TOWER: MARKS[TOWER]}
    before = weights.prefixes(parts)
    following = f"{before[TOWER]}encoder.layers.{max(frontend.tower.states)}."
    prefixes = {EXTRA: following, "tower.": before[TOWER]}
    if frontend.projector is not None:
        prefixes["projector."] = before[PROJECTOR] + "multi_modal_projector."
    wanted = {}
    for name in frontend.state_dict():
        part = next(part for part in prefixes if name.startswith(part))
        wanted[prefixes[part] + name.removeprefix(part)] = name
    preprocessing, notes = _preprocessing(checkpoint, frontend.tower.config.image_size, processor)
    model = loaded(
        frontend,
        weights.read(wanted),
        preprocessing,
        id=checkpoint.id,
        revision=checkpoint.revision,
        family=family,
    )
    return dataclasses.replace(model, folder=checkpoint.folder, notes=notes)


def loaded(
    frontend: ClipFrontend,
    tensors: Iterable[tuple[str, Tensor]],
    preprocessing: Preprocessing,
    *,
    id: str,
    revision: str | None,
    family: str,
) -> LoadedModel:
    """A front end with its weights, ready to use.

    Args:
        frontend: its own weights are replaced.
        tensors: all of them by name, in the order of the names; what is kept of each is a copy.
        preprocessing: of its images.
        id: of the model, as it was given.
        revision: on the hub.
        family: its model_type.

    Raises:
        ModelError: a tensor has another shape than the front end's.
    """
    expected = frontend.state_dict()
    core, whole = Fingerprint(), Fingerprint()
    extra = any(name.startswith(EXTRA) for name in expected)
    state = {}
    for name, tensor in tensors:
        _check_shape(name, tensor, expected[name], id)
        if not name.startswith(EXTRA):
            core.add(name, tensor)
        if extra:
            whole.add(name, tensor)
        state[name] = tensor.to(torch.float32, copy=True)
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
    )


def _check_shape(name: str, tensor: Tensor, expected: Tensor, model_id: str) -> None:
    if tensor.shape != expected.shape:
        raise ModelError(
            f"tensor {name} of '{model_id}' has shape {list(tensor.shape)}, "
            f"but its config.json asks for {list(expected.shape)}"
        )


def _preprocessing(checkpoint: Checkpoint, image_size: int, processor: str) -> tuple[Preprocessing, tuple[str, ...]]:
    """From whichever file the checkpoint keeps it in; CLIP's own constants, and a note, when it keeps none."""
    settings = checkpoint.image_processor()
    if settings is None:
        files = f"{PROCESSOR} or {IMAGE_PROCESSOR}"
        lack = f"no {files} of '{checkpoint.id}' is in the local cache, and the hub cannot be reached"
        if not checkpoint.unasked & {PROCESSOR, IMAGE_PROCESSOR}:
            lack = f"'{checkpoint.id}' has no {files}"
        note = f"{lack}: images are prepared as for OpenAI's CLIP, at {image_size} pixels"
        return clip_preprocessing(image_size), (note,)
    config, file = settings
    named = checkpoint.config.get("image_processor_type")
    try:
        return preprocessing_from_config(config, image_size, named or processor), ()
    except SpecError as error:
        raise ModelError(f"{file} of '{checkpoint.id}' cannot be used: {error}") from error
