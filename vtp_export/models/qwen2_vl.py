"""Qwen2-VL (`Qwen2VLForConditionalGeneration`): pictures of any shape, every block attends to the whole picture.

Tokens, sizes and positions as in `qwen2_5_vl`: 2 x 2 patches, 28 x 28 pixels. Saliency is the attention that a token's
patches receive in the last block.
"""

from collections.abc import Collection, Mapping
from typing import Any

from vtp_export.errors import ModelError, shown
from vtp_export.models._checkpoint import Checkpoint
from vtp_export.models._grid_loading import GridFamily, divided, load_grid, numbers
from vtp_export.models._grid_tower import GridTowerConfig
from vtp_export.models._sizes import AskedSize
from vtp_export.models.base import LoadedModel
from vtp_export.models.qwen2_5_vl import MERGER, PROCESSOR

ANY_SIZE = True

DEFAULTS = {
    "depth": 32,
    "embed_dim": 1280,
    "num_heads": 16,
    "patch_size": 14,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
}
"""What Hugging Face's Qwen2VLVisionConfig assumes for a key that config.json leaves out."""

WIDTH, RATIO = 3584, 4
"""Likewise `hidden_size`, which is the language model's here, and `mlp_ratio`."""


def config_of(raw: Mapping[str, Any]) -> GridTowerConfig:
    """Of a `Qwen2VLVisionConfig`.

    Raises:
        ModelError: a number that no tower can have.
    """
    values, ratio = numbers(raw, DEFAULTS), raw.get("mlp_ratio", RATIO)
    inner = int(values["embed_dim"] * ratio) if type(ratio) in (int, float) and 0 < ratio <= 64 else 0
    if inner < 1:
        raise ModelError(f"mlp_ratio of the vision tower is {shown(ratio)}; a number above 0 and up to 64 is needed")
    config = GridTowerConfig(
        hidden_size=values["embed_dim"],
        intermediate_size=inner,
        hidden_act=raw.get("hidden_act", "quick_gelu"),
        depth=values["depth"],
        heads=values["num_heads"],
        patch=values["patch_size"],
        merge=values["spatial_merge_size"],
        whole=tuple(range(values["depth"])),
    )
    return divided(config, raw)


FAMILY = GridFamily(
    family="qwen2_vl",
    what="Qwen2-VL vision tower",
    config=config_of,
    width=lambda raw: raw.get("hidden_size", WIDTH),
    names=MERGER,
    processor=PROCESSOR,
    prepared_as="Qwen2-VL",
)


def load(checkpoint: Checkpoint, needs: Collection[str], size: AskedSize | None = None) -> LoadedModel:
    """Load the tower and the merger of a Qwen2-VL for one grid; the language model is never read.

    Raises:
        ModelError: as `load_grid`.
    """
    return load_grid(checkpoint, needs, size, FAMILY)
