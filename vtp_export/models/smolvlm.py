"""SmolVLM 2 (`SmolVLMForConditionalGeneration`): SigLIP at 384 or 512, 9 or 16 patches a token, one matrix; tiles.

A picture is grown until its long edge is four tiles, cut into tiles, and seen as a whole last; each view is pruned by
itself, and text stands between them (`picture.text`). A token is 4 x 4 patches side by side (2.2B: 3 x 3), a view 64
tokens (81). There is no CLS token: saliency is the attention that a token's patches receive in the last layer.
Small pictures are blown up: of 336 x 336 pixels the released processors make 17 views, 1088 tokens of SmolVLM2-500M.
"""

from collections.abc import Collection

from vtp_export.models._checkpoint import Checkpoint
from vtp_export.models._smolvlm import load_smolvlm
from vtp_export.models.base import LoadedModel


def load(checkpoint: Checkpoint, needs: Collection[str]) -> LoadedModel:
    """Load a folder or hub id whose `model_type` is `smolvlm`."""
    return load_smolvlm(checkpoint, needs, family="smolvlm", processor="SmolVLMImageProcessor")
