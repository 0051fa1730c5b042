"""Of every family there is a full size to measure; and what is written of it is what its loader reads."""

import pytest

from bench.towers import BUDGETS, LLAVA_NEXT, OPTIONS, SETTINGS, TOWERS, write_tower
from vtp_export import rooms
from vtp_export.graphs.assembly import load_model
from vtp_export.models._sizes import asked_size

SAME_TOWER = {
    "qwen3_vl_moe": "qwen3_vl",
    "qwen3_5_moe": "qwen3_5",
    "clip": "clip_vision_model",
    "siglip": "siglip_vision_model",
    "siglip2": "siglip2_vision_model",
}
SIDES = {
    "siglip-so400m-384": 27,
    "dinov2-large-518": 37,
    "dinov2-with-registers-large-518": 37,
    "siglip2-so400m-naflex": 16,
    "clip-large-336": 24,
    "vip-llava-7b": 24,
    "llava-onevision-7b": 27,
    "paligemma-448": 32,
    "gemma3-4b": 16,
    "internvl3-1b": 16,
    "smolvlm2-500m": 8,
    "idefics3-8b": 13,
    "qwen2.5-vl-7b": 35,
    "qwen2-vl-7b": 35,
    "qwen3-vl-4b": 30,
    "qwen3.5": 30,
}
"""Tokens along an edge, as models.md counts them."""
ELSEWHERE = {"llava", "llava_next", "toy"}
"""`bench.checkpoint` writes those."""


def narrowed(config):
    """The same with little in it, but for the grid of patches."""
    narrow = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 11, "num_attention_heads": 2}
    narrow |= {"depth": 20, "num_heads": 2, "out_hidden_size": 16, "embed_dim": 16}
    if "vision_config" in config:
        text = {**config["text_config"], "hidden_size": 16}
        own = {"projection_dim": 16} if "projection_dim" in config else {}
        return {**config, "vision_config": narrowed(config["vision_config"]), "text_config": text, **own}
    return {**config, **{name: size for name, size in narrow.items() if name in config}}


def test_every_family_has_a_full_size():
    written = {config["model_type"] for config in TOWERS.values() if config}
    assert {SAME_TOWER.get(name, name) for name in rooms.names("models")} == written | ELSEWHERE


@pytest.mark.parametrize("name", [name for name in TOWERS if name != LLAVA_NEXT])
def test_what_is_written_is_what_is_read(tmp_path, name):
    write_tower(tmp_path, narrowed(TOWERS[name]))
    size = asked_size(**OPTIONS.get(name, {}))
    assert load_model(tmp_path, size=size).frontend.candidates.grid == (SIDES[name], SIDES[name])
    assert BUDGETS.get(name, SETTINGS["keep"]) < SIDES[name] ** 2
