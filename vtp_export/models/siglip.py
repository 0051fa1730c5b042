"""The vision half of a full SigLIP model (`SiglipModel`), as published for so400m-patch14-384 and for SigLIP 2."""

from collections.abc import Collection

from vtp_export.models._checkpoint import Checkpoint
from vtp_export.models._loading import load_bare
from vtp_export.models._towers import SIGLIP
from vtp_export.models.base import LoadedModel


def load(checkpoint: Checkpoint, needs: Collection[str]) -> LoadedModel:
    """Load a folder or hub id whose `model_type` is `siglip`."""
    return load_bare(checkpoint, checkpoint.section("vision_config") or {}, needs, family="siglip", tower=SIGLIP)
