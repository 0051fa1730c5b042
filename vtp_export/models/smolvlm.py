"""SmolVLM 2 (`SmolVLMForConditionalGeneration`): SigLIP at 384 or 512, 9 or 16 patches a token, one matrix; tiles.

Small pictures are blown up: of 336 x 336 pixels the released processors make 17 views, 1088 tokens of SmolVLM2-500M.
"""

from collections.abc import Collection

from vtp_export.models._checkpoint import Checkpoint
from vtp_export.models._smolvlm import load_smolvlm
from vtp_export.models.base import LoadedModel


def load(checkpoint: Checkpoint, needs: Collection[str]) -> LoadedModel:
    """Load a folder or hub id whose `model_type` is `smolvlm`."""
    return load_smolvlm(checkpoint, needs, family="smolvlm", processor="SmolVLMImageProcessor")
