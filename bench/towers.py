"""Every family at full size, random weights: export, memory and latency, pruned and not.

python -m bench.towers [FOLDER [NAME ...]]        FOLDER keeps what is made; default bench/out, the first three of
                                                  `TOWERS`, which are in RESULTS.md; 10 minutes
"""

import contextlib
import functools
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch

from bench.checkpoint import VISION, drawn, write_checkpoint
from bench.frontend import EXPORT, table
from bench.measure import in_process, in_turns
from vtp_export.runtime.front_end import load

ROUNDS, ROUNDS_ALONE = 7, 3
SETTINGS = {"keep": 128, "average": 90.0}
BUDGETS = {"smolvlm2-500m": 16, "idefics3-8b": 64, "internvl3-1b": 64}
"""Tokens kept where that is not `SETTINGS`': of views of 64, 169 and 256."""
LLAVA_NEXT = "llava-next-5-views"
VIEWS = {LLAVA_NEXT: 5}
"""Batches that are timed where that is not 1: the views of one picture."""
SO400M = {
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_hidden_layers": 27,
    "num_attention_heads": 16,
    "patch_size": 14,
}
QWEN2_5 = {
    "depth": 32,
    "hidden_size": 1280,
    "intermediate_size": 3420,
    "num_heads": 16,
    "out_hidden_size": 3584,
    "fullatt_block_indexes": [7, 15, 23, 31],
}
SMOLVLM = {
    "model_type": "smolvlm_vision",
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "image_size": 512,
    "patch_size": 16,
}
IDEFICS3 = {"model_type": "idefics3_vision", "image_size": 364, **SO400M}
QWEN3 = {
    "depth": 24,
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_heads": 16,
    "out_hidden_size": 2560,
    "deepstack_visual_indexes": [5, 11, 17],
}
QWEN3_5 = {"depth": 27, "hidden_size": 1152, "intermediate_size": 4304, "num_heads": 16, "out_hidden_size": 2560}
LARGE = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "patch_size": 14}


def joined(model_type: str, vision: dict[str, Any], text: str, width: int, **options: Any) -> dict[str, Any]:
    """A tower, what joins it to a language model, and of that one layer, which nothing reads."""
    heads = {"num_attention_heads": 8, "num_key_value_heads": 1, "num_hidden_layers": 1}
    language = {"model_type": text, "hidden_size": width, "intermediate_size": 8, "vocab_size": 64, **heads}
    return {"model_type": model_type, "vision_config": vision, "text_config": language, **options}


TOWERS: dict[str, dict[str, Any]] = {
    LLAVA_NEXT: {},
    "siglip-so400m-384": {"model_type": "siglip_vision_model", "image_size": 384, **SO400M},
    "dinov2-large-518": {"model_type": "dinov2", "image_size": 518, **LARGE},
    "dinov2-with-registers-large-518": {"model_type": "dinov2_with_registers", "image_size": 518, **LARGE},
    "siglip2-so400m-naflex": {"model_type": "siglip2_vision_model", **SO400M, "patch_size": 16, "num_patches": 256},
    "clip-large-336": {"model_type": "clip_vision_model", "image_size": 336, "intermediate_size": 4096, **LARGE},
    "vip-llava-7b": joined("vipllava", VISION, "llama", 4096),
    "llava-onevision-7b": joined(
        "llava_onevision",
        {"model_type": "siglip_vision_model", "image_size": 384, **SO400M, "num_hidden_layers": 26},
        "qwen2",
        3584,
    ),
    "paligemma-448": joined(
        "paligemma",
        {"model_type": "siglip_vision_model", "image_size": 448, **SO400M},
        "gemma",
        2048,
        projection_dim=2048,
    ),
    "gemma3-4b": joined(
        "gemma3", {"model_type": "siglip_vision_model", "image_size": 896, **SO400M}, "gemma3_text", 2560
    ),
    "smolvlm2-500m": joined("smolvlm", SMOLVLM, "llama", 960, scale_factor=4),
    "idefics3-8b": joined("idefics3", IDEFICS3, "llama", 4096, scale_factor=2),
    "internvl3-1b": joined(
        "internvl",
        {
            "model_type": "internvl_vision",
            "image_size": [448, 448],
            "intermediate_size": 4096,
            "attention_bias": True,
            **LARGE,
            "patch_size": [14, 14],
        },
        "qwen2",
        896,
    ),
    "qwen2.5-vl-7b": joined("qwen2_5_vl", QWEN2_5, "qwen2_5_vl_text", 3584),
    "qwen2-vl-7b": joined(
        "qwen2_vl", {"depth": 32, "embed_dim": 1280, "num_heads": 16, "hidden_size": 3584}, "qwen2_vl_text", 3584
    ),
    "qwen3-vl-4b": joined("qwen3_vl", QWEN3, "qwen3_vl_text", 2560),
    "qwen3.5": joined("qwen3_5", QWEN3_5, "qwen3_5_text", 2560),
}
"""Of every family but LLaVA-1.5, which `bench.frontend` measures. The first three are in RESULTS.md."""
OPTIONS: dict[str, dict[str, Any]] = {
    "qwen2.5-vl-7b": {"image_size": "980x980"},
    "qwen2-vl-7b": {"image_size": "980x980"},
    "qwen3-vl-4b": {"image_size": "960x960"},
    "qwen3.5": {"image_size": "960x960"},
}
"""Of those whose pictures have any size: what is built for."""
IN_RESULTS = tuple(TOWERS)[:3]


RESIDUAL = ("attn.proj.weight", "mlp.down_proj.weight", "mlp.fc2.weight", "mlp.linear_fc2.weight")
"""Of a Qwen tower, what is added to the stream."""


def write_tower(folder: Path, config: dict[str, Any]) -> None:
    """A Hugging Face folder of that geometry in float16, as Transformers writes it."""
    from transformers import AutoConfig, AutoModel

    options = {key: value for key, value in config.items() if key != "model_type"}
    auto: Any = AutoModel
    with torch.device("meta"):
        tower = auto.from_config(AutoConfig.for_model(config["model_type"], **options))
    generator = torch.Generator().manual_seed(0)
    state = {name: drawn(name, tuple(tensor.shape), generator) for name, tensor in tower.state_dict().items()}
    depth = config.get("vision_config", {}).get("depth", 0)
    for name in [name for name in state if depth and "visual." in name and name.endswith(RESIDUAL)]:
        state[name] *= (2 * depth) ** -0.5  # or the noise of a deep tower grows beyond any difference between tokens
    tower.load_state_dict(state, assign=True)
    tower.save_pretrained(folder)


def measured(out: Path, name: str) -> None:
    """Two tables."""
    model = out / name
    if not (model / "config.json").is_file():
        write_checkpoint(model, next=True) if name == LLAVA_NEXT else write_tower(model, TOWERS[name])
    rows: list[tuple[object, ...]] = []
    kept = {**SETTINGS, "keep": BUDGETS.get(name, SETTINGS["keep"])}
    for pruner, settings in (("none", {}), ("adaptive", kept)):
        folder = out / f"{name}-{pruner}"
        what = {"model": str(model), "out": str(folder), "pruner": pruner, "options": OPTIONS.get(name, {})}
        code = EXPORT.format(**what, settings=settings, golden=0)
        seconds, processor, peak = in_process(code)
        weights = sum(file.stat().st_size for file in folder.glob("model.onnx*"))
        rows.append((pruner, seconds, processor, weights / 1e9, peak / 1e9, peak / weights))
    table(f"{name}: export", ("what", "seconds", "processor s", "file GB", "peak GB", "peak / file"), rows)
    latency(out, name)


def latency(out: Path, name: str) -> None:
    """Of the artefacts that were exported: on every core by the clock, and on one by the processor's time."""
    folders = {what: out / f"{name}-{what}" for what in ("none", "adaptive")}
    for threads, rounds, clock in ((None, ROUNDS, time.perf_counter), (1, ROUNDS_ALONE, time.process_time)):
        with contextlib.ExitStack() as stack:
            opened = {w: stack.enter_context(load(folder, threads=threads)) for w, folder in folders.items()}
            shape = (VIEWS.get(name, 1), 3, *opened["none"].manifest.layout.image_size)
            pixels = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
            calls = {what: functools.partial(one.run, pixels) for what, one in opened.items()}
            spent = in_turns(calls, rounds, clock=clock)
        told = "one thread, processor ms" if threads else "all cores, ms"
        rows = [(what, ms, ms / spent["none"]) for what, ms in spent.items()]
        table(f"{name}: latency in ONNX Runtime, batch {shape[0]}", ("what", told, "ratio"), rows)


def main() -> None:
    """What is in RESULTS.md, or what is named."""
    out = Path(sys.argv[1] if len(sys.argv) > 1 else "bench/out")
    print(f"torch {torch.__version__}, ONNX Runtime {onnxruntime.__version__}")
    for name in sys.argv[2:] or IN_RESULTS:
        measured(out, name)


if __name__ == "__main__":
    main()
