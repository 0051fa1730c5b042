"""Qwen3-VL (`Qwen3VLForConditionalGeneration`): pictures of any shape, learned positions, and deepstack.

A token is 2 x 2 patches, 32 x 32 pixels: the four patches side by side as they leave the last block, of which the
merger's norm and MLP make what the language model reads. Export asks for a size: `--image-size 1280x720`, or in tokens
`--grid 22x40`. What is kept comes with `position_ids`, which the language model needs too. Patches' own positions are
learned on a square and interpolated to the grid. Saliency is the attention that a token's patches receive in the last
block.
Deepstack: a token comes with three more vectors (as many as the model says), each of a block on the way, which the
language model adds to it after its first layers. They are gathered, or mixed, as the tokens are: the output
`deepstack`.
"""

import math
from collections.abc import Collection, Mapping
from typing import Any

from vtp_export.errors import ModelError, shown
from vtp_export.models._checkpoint import Checkpoint
from vtp_export.models._grid_loading import GridFamily, divided, load_grid, numbers
from vtp_export.models._grid_tower import GridTowerConfig
from vtp_export.models._sizes import AskedSize
from vtp_export.models.base import LoadedModel

ANY_SIZE = True

DEFAULTS = {
    "depth": 27,
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_heads": 16,
    "patch_size": 16,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
    "num_position_embeddings": 2304,
}
"""What Hugging Face's Qwen3VLVisionConfig assumes for a key that config.json leaves out."""

WIDTH, DEEPSTACK = 3584, [8, 16, 24]
"""Likewise `out_hidden_size` and `deepstack_visual_indexes`."""

PROCESSOR: dict[str, Any] = {
    "image_mean": (0.5, 0.5, 0.5),
    "image_std": (0.5, 0.5, 0.5),
    "min_pixels": 256 * 256,
    "max_pixels": 4096 * 4096,
    "patch_size": 16,
    "merge_size": 2,
}
"""As released."""

NAMES = (
    ("mlp.fc1.", "mlp.linear_fc1."),
    ("mlp.fc2.", "mlp.linear_fc2."),
    ("linear_1.", "linear_fc1."),
    ("linear_2.", "linear_fc2."),
    ("deepstack.", "deepstack_merger_list."),
)


def config_of(raw: Mapping[str, Any]) -> GridTowerConfig:
    """Of a `Qwen3VLVisionConfig`.

    Raises:
        ModelError: a number that no tower can have, positions that are no square, or blocks that it does not have.
    """
    planes = raw.get("deepstack_visual_indexes", DEEPSTACK)
    config = plain_config(raw, planes if isinstance(planes, list) else ())
    whole = isinstance(planes, list) and all(type(block) is int for block in planes)
    if not whole or planes != sorted({block for block in planes if 0 <= block < config.depth}):
        raise ModelError(
            f"deepstack_visual_indexes of the vision tower is {shown(planes)}; blocks from 0 to {config.depth - 1} are "
            "needed, each once and in order"
        )
    return config


def plain_config(raw: Mapping[str, Any], deepstack: Collection[int] = ()) -> GridTowerConfig:
    """The same of a tower without deepstack, or with one at these blocks.

    Raises:
        ModelError: a number that no tower can have, or positions that are no square.
    """
    values = numbers(raw, DEFAULTS)
    side = math.isqrt(values["num_position_embeddings"])
    if side**2 != values["num_position_embeddings"]:
        raise ModelError(
            f"num_position_embeddings of the vision tower is {values['num_position_embeddings']}; the square of a "
            "whole number is needed"
        )
    config = GridTowerConfig(
        hidden_size=values["hidden_size"],
        intermediate_size=values["intermediate_size"],
        hidden_act=raw.get("hidden_act", "gelu_pytorch_tanh"),
        depth=values["depth"],
        heads=values["num_heads"],
        patch=values["patch_size"],
        merge=values["spatial_merge_size"],
        whole=tuple(range(values["depth"])),
        patch_bias=True,
        learned=side,
        deepstack=tuple(deepstack),
    )
    return divided(config, raw)


FAMILY = GridFamily(
    family="qwen3_vl",
    what="Qwen3-VL vision tower",
    config=config_of,
    width=lambda raw: raw.get("out_hidden_size", WIDTH),
    names=NAMES,
    processor=PROCESSOR,
    prepared_as="Qwen3-VL",
)


def load(checkpoint: Checkpoint, needs: Collection[str], size: AskedSize | None = None) -> LoadedModel:
    """Load the tower and the mergers of a Qwen3-VL for one grid; the language model is never read.

    Raises:
        ModelError: as `load_grid`.
    """
    return load_grid(checkpoint, needs, size, FAMILY)
