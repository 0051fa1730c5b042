"""A bare DINOv2 tower with registers (`Dinov2WithRegistersModel`): as `dinov2`; registers are never candidates.

Attention that they pay counts in what a token receives, as they are queries like any other.
"""

from collections.abc import Collection

from vtp_export.models._checkpoint import Checkpoint
from vtp_export.models._loading import load_bare
from vtp_export.models._towers import DINOV2_WITH_REGISTERS
from vtp_export.models.base import LoadedModel


def load(checkpoint: Checkpoint, needs: Collection[str]) -> LoadedModel:
    """Load a folder or hub id whose `model_type` is `dinov2_with_registers`."""
    return load_bare(checkpoint, checkpoint.config, needs, family="dinov2_with_registers", tower=DINOV2_WITH_REGISTERS)
