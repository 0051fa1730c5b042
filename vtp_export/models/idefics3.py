"""Idefics3, and SmolVLM before its second version (`Idefics3ForConditionalGeneration`): as SmolVLM 2.

All that is said of `smolvlm` holds, but that Idefics3-8B takes views of 364 pixels, 2 x 2 patches a token: 169 tokens a
view.
"""

from collections.abc import Collection

from vtp_export.models._checkpoint import Checkpoint
from vtp_export.models._smolvlm import load_smolvlm
from vtp_export.models.base import LoadedModel


def load(checkpoint: Checkpoint, needs: Collection[str]) -> LoadedModel:
    """Load a folder or hub id whose `model_type` is `idefics3`."""
    return load_smolvlm(checkpoint, needs, family="idefics3", processor="Idefics3ImageProcessor")
