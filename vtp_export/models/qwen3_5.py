"""Qwen3.5 (`Qwen3_5ForConditionalGeneration`): the tower of `qwen3_vl` without deepstack.

Tokens, sizes, positions and saliency are as there.
"""

from collections.abc import Collection
from dataclasses import replace

from vtp_export.models._checkpoint import Checkpoint
from vtp_export.models._grid_loading import load_grid
from vtp_export.models._sizes import AskedSize
from vtp_export.models.base import LoadedModel
from vtp_export.models.qwen3_vl import FAMILY as WITH_DEEPSTACK
from vtp_export.models.qwen3_vl import plain_config

ANY_SIZE = True

FAMILY = replace(
    WITH_DEEPSTACK, family="qwen3_5", what="Qwen3.5 vision tower", config=plain_config, prepared_as="Qwen3.5"
)


def load(checkpoint: Checkpoint, needs: Collection[str], size: AskedSize | None = None) -> LoadedModel:
    """Load the tower and the merger of a Qwen3.5 for one grid; the language model is never read.

    Raises:
        ModelError: as `load_grid`.
    """
    return load_grid(checkpoint, needs, size, FAMILY)
