"""A bare SigLIP vision tower (`SiglipVisionModel`): tokens are its last hidden state, after the post-layernorm.

So are SigLIP 2's of a fixed resolution, which are published under this `model_type`. There is no CLS token: a token's
saliency is the attention that it receives in the last layer, mean over heads and queries.
"""

from collections.abc import Collection

from vtp_export.models._checkpoint import Checkpoint
from vtp_export.models._loading import load_bare
from vtp_export.models._towers import SIGLIP
from vtp_export.models.base import LoadedModel


def load(checkpoint: Checkpoint, needs: Collection[str]) -> LoadedModel:
    """Load a folder or hub id whose `model_type` is `siglip_vision_model`."""
    return load_bare(checkpoint, checkpoint.config, needs, family="siglip_vision_model", tower=SIGLIP)
