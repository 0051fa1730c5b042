"""Qwen3.5 with experts (`Qwen3_5MoeForConditionalGeneration`): the tower of `qwen3_5`.

All that is said of `qwen3_5` holds; only the language model, which is never read, differs.
"""

from collections.abc import Collection
from dataclasses import replace

from vtp_export.models._checkpoint import Checkpoint
from vtp_export.models._grid_loading import load_grid
from vtp_export.models._sizes import AskedSize
from vtp_export.models.base import LoadedModel
from vtp_export.models.qwen3_5 import FAMILY as DENSE

ANY_SIZE = True

FAMILY = replace(DENSE, family="qwen3_5_moe")


def load(checkpoint: Checkpoint, needs: Collection[str], size: AskedSize | None = None) -> LoadedModel:
    """Load the tower and the merger of a Qwen3.5 with experts for one grid; the language model is never read.

    Raises:
        ModelError: as `load_grid`.
    """
    return load_grid(checkpoint, needs, size, FAMILY)
