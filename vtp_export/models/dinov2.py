"""A bare DINOv2 tower (`Dinov2Model`): tokens are its last hidden state, after the norm, CLS dropped.

Images have the size that its image processor makes; learned positions are interpolated to it, as Transformers does.
"""

from collections.abc import Collection

from vtp_export.models._checkpoint import Checkpoint
from vtp_export.models._loading import load_bare
from vtp_export.models._towers import DINOV2
from vtp_export.models.base import LoadedModel


def load(checkpoint: Checkpoint, needs: Collection[str]) -> LoadedModel:
    """Load a folder or hub id whose `model_type` is `dinov2`."""
    return load_bare(checkpoint, checkpoint.config, needs, family="dinov2", tower=DINOV2)
