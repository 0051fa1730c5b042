"""Qwen2.5-VL (`Qwen2_5_VLForConditionalGeneration`): pictures of any shape, attention in windows and at times whole.

A token is 2 x 2 patches, 28 x 28 pixels: the four patches side by side as they leave the last block, of which the
merger's norm and MLP make what the language model reads. Export asks for a size: `--image-size 1280x720`, or in tokens
`--grid 26x46`. What is kept comes with `position_ids`, which the language model needs too.
Saliency is the attention that a token's patches receive in the last block that attends to the whole picture. The early
signals are of the first such block at or past their share of the depth: of 32 blocks with whole attention in the 8th,
16th, 24th and 32nd, the 8th and the 16th.
"""

from collections.abc import Collection, Mapping
from typing import Any

from vtp_export.errors import ModelError, shown
from vtp_export.models._checkpoint import Checkpoint
from vtp_export.models._grid_loading import GridFamily, divided, load_grid, numbers
from vtp_export.models._grid_tower import GridTowerConfig
from vtp_export.models._sizes import AskedSize
from vtp_export.models.base import LoadedModel
from vtp_export.runtime.processor_defaults import CLIP_MEAN, CLIP_STD

ANY_SIZE = True

DEFAULTS = {
    "depth": 32,
    "hidden_size": 3584,
    "intermediate_size": 3420,
    "num_heads": 16,
    "patch_size": 14,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
    "window_size": 112,
}
"""What Hugging Face's Qwen2_5_VLVisionConfig assumes for a key that config.json leaves out."""

WHOLE, WIDTH = [7, 15, 23, 31], 3584
"""Likewise `fullatt_block_indexes` and `out_hidden_size`."""

PROCESSOR: dict[str, Any] = {
    "image_mean": CLIP_MEAN,
    "image_std": CLIP_STD,
    "min_pixels": 4 * 28 * 28,
    "max_pixels": 16384 * 28 * 28,
    "patch_size": 14,
    "merge_size": 2,
}
"""As released."""


MERGER = (
    ("merger.norm.", "merger.ln_q."),
    ("merger.linear_1.", "merger.mlp.0."),
    ("merger.linear_2.", "merger.mlp.2."),
)
"""Our names of its parts, and the released ones."""


def config_of(raw: Mapping[str, Any]) -> GridTowerConfig:
    """Of a `Qwen2_5_VLVisionConfig`.

    Raises:
        ModelError: a number that no tower can have, or no block with whole attention.
    """
    values = numbers(raw, DEFAULTS)
    depth, token = values["depth"], values["patch_size"] * values["spatial_merge_size"]
    whole = raw.get("fullatt_block_indexes", WHOLE)
    if not isinstance(whole, list) or not all(type(block) is int for block in whole):
        raise ModelError(f"fullatt_block_indexes of the vision tower is {shown(whole)}; a list of blocks is needed")
    blocks = tuple(sorted({block for block in whole if 0 <= block < depth}))
    if not blocks:
        raise ModelError(
            f"fullatt_block_indexes of the vision tower is {shown(whole)}, none of its {depth} blocks; one that "
            "attends to the whole picture is needed"
        )
    if values["window_size"] < token:
        raise ModelError(f"window_size of the vision tower is {values['window_size']}, less than a token's {token}")
    config = GridTowerConfig(
        hidden_size=values["hidden_size"],
        intermediate_size=values["intermediate_size"],
        hidden_act=raw.get("hidden_act", "silu"),
        depth=depth,
        heads=values["num_heads"],
        patch=values["patch_size"],
        merge=values["spatial_merge_size"],
        window=values["window_size"] // values["spatial_merge_size"] // values["patch_size"],
        whole=blocks,
        gated=True,
        rms=True,
    )
    return divided(config, raw)


FAMILY = GridFamily(
    family="qwen2_5_vl",
    what="Qwen2.5-VL vision tower",
    config=config_of,
    width=lambda raw: raw.get("out_hidden_size", WIDTH),
    names=(
        ("mlp.fc1.", "mlp.gate_proj."),
        ("mlp.gated.", "mlp.up_proj."),
        ("mlp.fc2.", "mlp.down_proj."),
        *MERGER,
    ),
    processor=PROCESSOR,
    prepared_as="Qwen2.5-VL",
)


def load(checkpoint: Checkpoint, needs: Collection[str], size: AskedSize | None = None) -> LoadedModel:
    """Load the tower and the merger of a Qwen2.5-VL for one grid; the language model is never read.

    Raises:
        ModelError: as `load_grid`.
    """
    return load_grid(checkpoint, needs, size, FAMILY)
