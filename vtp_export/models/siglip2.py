"""The vision half of a full SigLIP 2 model of any resolution (NaFlex, `Siglip2Model`) at one square grid of patches.

See `siglip2_vision_model`. SigLIP 2 of a fixed resolution is published as `siglip`.
"""

from collections.abc import Collection

from vtp_export.models._checkpoint import Checkpoint
from vtp_export.models.base import LoadedModel
from vtp_export.models.siglip2_vision_model import load_naflex


def load(checkpoint: Checkpoint, needs: Collection[str]) -> LoadedModel:
    """Load a folder or hub id whose `model_type` is `siglip2`."""
    return load_naflex(checkpoint, checkpoint.section("vision_config") or {}, needs, "siglip2")
