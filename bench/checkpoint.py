"""A checkpoint of LLaVA-1.5's or LLaVA-NeXT's front-end geometry with random weights, as a sharded Hugging Face folder.

The language model is named in the index and absent from the disk: nothing here may read it.

    python -m bench.checkpoint OUT [TEXT_WIDTH]        4096 as LLaVA-1.5-7B, 5120 as LLaVA-1.5-13B
"""

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

WIDTH, INNER, LAYERS, HEADS, IMAGE, PATCH = 1024, 4096, 24, 16, 336, 14
TEXT_WIDTH, TEXT_WIDTH_13B = 4096, 5120

VISION = {
    "model_type": "clip_vision_model",
    "hidden_size": WIDTH,
    "intermediate_size": INNER,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "image_size": IMAGE,
    "patch_size": PATCH,
}
TOWER = "vision_tower.vision_model."
PROJECTOR = "multi_modal_projector."


def config(text_width: int, next: bool = False) -> dict[str, object]:
    """What `config.json` says."""
    return {
        "architectures": [f"Llava{'Next' if next else ''}ForConditionalGeneration"],
        "model_type": "llava_next" if next else "llava",
        "vision_config": VISION,
        "text_config": {"model_type": "llama", "hidden_size": text_width},
        "projector_hidden_act": "gelu",
        "vision_feature_layer": -2,
        "vision_feature_select_strategy": "default",
    }


def shapes(text_width: int, next: bool = False) -> dict[str, tuple[int, ...]]:
    """Every tensor of the tower, all 24 layers of it, and of the projector; of LLaVA-NeXT the newline vector too."""
    found: dict[str, tuple[int, ...]] = {
        f"{TOWER}embeddings.class_embedding": (WIDTH,),
        f"{TOWER}embeddings.patch_embedding.weight": (WIDTH, 3, PATCH, PATCH),
        f"{TOWER}embeddings.position_embedding.weight": ((IMAGE // PATCH) ** 2 + 1, WIDTH),
    }
    if next:
        found["image_newline"] = (text_width,)
    norms = [f"{TOWER}pre_layrnorm", f"{TOWER}post_layernorm"]
    linear: dict[str, tuple[int, int]] = {
        f"{PROJECTOR}linear_1": (text_width, WIDTH),
        f"{PROJECTOR}linear_2": (text_width, text_width),
    }
    for i in range(LAYERS):
        layer = f"{TOWER}encoder.layers.{i}."
        norms += [f"{layer}layer_norm1", f"{layer}layer_norm2"]
        linear |= {f"{layer}self_attn.{name}_proj": (WIDTH, WIDTH) for name in ("q", "k", "v", "out")}
        linear |= {f"{layer}mlp.fc1": (INNER, WIDTH), f"{layer}mlp.fc2": (WIDTH, INNER)}
    for name in norms:
        found |= {f"{name}.weight": (WIDTH,), f"{name}.bias": (WIDTH,)}
    for name, shape in linear.items():
        found |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    return found


SCALES = ("lambda1", "lambda_1", "lambda_2")
"""How the names of what scales halves of layers end."""


def drawn(name: str, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """A tensor in float16, scaled so that signals keep their size with depth, and attention is not flat."""
    if len(shape) == 1:
        norm = "norm" in name or ".ln_q." in name
        fill = 1.0 if (norm and name.endswith("weight")) or name.endswith(SCALES) else 0.0
        return torch.full(shape, fill, dtype=torch.float16)
    sharpness = 1.5 if "q_proj" in name or "k_proj" in name else 1.0
    fan_in = torch.Size(shape[1:]).numel()
    drawn: Tensor = torch.randn(shape, generator=generator) * sharpness * fan_in**-0.5
    if name.endswith(".qkv.weight"):  # queries and keys, and values left as they are
        drawn[: 2 * shape[0] // 3] *= 1.5
    return drawn.half()


def write_checkpoint(folder: Path, text_width: int = TEXT_WIDTH, shards: int = 3, next: bool = False) -> None:
    """Write it in float16, as the published one is.

    Args:
        folder: where.
        text_width: channels of the language model.
        shards: files with weights.
        next: LLaVA-NeXT, and not LLaVA-1.5.
    """
    folder.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(0)
    names = list(shapes(text_width, next).items())
    size = -(-len(names) // shards)
    index: dict[str, str] = {}
    for number in range(shards):
        file = f"model-{number + 1:05d}-of-{shards + 1:05d}.safetensors"
        tensors = {name: drawn(name, shape, generator) for name, shape in names[number * size : (number + 1) * size]}
        save_file(tensors, folder / file, metadata={"format": "pt"})
        index |= dict.fromkeys(tensors, file)
    absent = f"model-{shards + 1:05d}-of-{shards + 1:05d}.safetensors"
    index |= dict.fromkeys(("language_model.model.embed_tokens.weight", "language_model.lm_head.weight"), absent)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
    (folder / "config.json").write_text(json.dumps(config(text_width, next), indent=2))


if __name__ == "__main__":
    write_checkpoint(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else TEXT_WIDTH)
