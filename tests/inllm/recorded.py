"""What the released code of FastV, SparseVLM and PyramidDrop did on small random Llamas in float64, and those Llamas.

`tests/data/inllm.npz` holds the answers alone; weights and prompts are drawn again, from NumPy's legacy stream, which
NumPy has promised not to change, by operations that IEEE 754 rounds in one way. Digests in the file say that they are
the same to the bit.
"""

import hashlib
import json
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

FILE = Path(__file__).parent.parent / "data" / "inllm.npz"
BEFORE, VISUAL, AFTER = 5, 48, 12
LAYERS, WORDS = 8, 64
PROTOTYPES = 12


@dataclass(frozen=True)
class Shape:
    width: int
    heads: int
    key_heads: int
    inner: int


SHAPES = {"tiny4": Shape(64, 4, 4, 128), "tinygqa": Shape(64, 4, 2, 128), "tiny16": Shape(128, 16, 16, 192)}


def cases():
    """Facts of every case, and under "arrays" what was recorded of it."""
    with np.load(FILE) as file:
        arrays = dict(file)
    facts = json.loads(str(arrays.pop("meta")))
    for case in facts:
        own = f"{case['id']}/"
        case["arrays"] = {name.removeprefix(own): value for name, value in arrays.items() if name.startswith(own)}
    return facts


def centred(seed, name, *shape):
    """Uniform from -0.5 to 0.5."""
    stream = np.random.RandomState(zlib.crc32(f"{seed}/{name}".encode()))
    return stream.random_sample(shape) - 0.5


def matrix(seed, name, rows, columns, gain):
    return centred(seed, name, rows, columns) * (2 * gain * np.sqrt(3 / columns))


def gains(seed, name, width):
    return 1 + 0.4 * centred(seed, name, width)


def weights(shape, seed):
    """By the names that Transformers gives them, in the order of the digest."""
    width, head = shape.width, shape.width // shape.heads
    found = {"model.embed_tokens.weight": matrix(seed, "embed", WORDS, width, 1.0)}
    for layer in range(LAYERS):
        at = f"model.layers.{layer}."
        projections = [
            ("self_attn.q_proj", "q", shape.heads * head, width, 1.5),
            ("self_attn.k_proj", "k", shape.key_heads * head, width, 1.5),
            ("self_attn.v_proj", "v", shape.key_heads * head, width, 1.0),
            ("self_attn.o_proj", "o", width, shape.heads * head, 0.7),
            ("mlp.gate_proj", "gate", shape.inner, width, 1.0),
            ("mlp.up_proj", "up", shape.inner, width, 1.0),
            ("mlp.down_proj", "down", width, shape.inner, 0.7),
        ]
        for place, short, rows, columns, gain in projections:
            found[f"{at}{place}.weight"] = matrix(seed, at + short, rows, columns, gain)
        for place, short in (("input_layernorm", "ln1"), ("post_attention_layernorm", "ln2")):
            found[f"{at}{place}.weight"] = gains(seed, at + short, width)
    found["model.norm.weight"] = gains(seed, "norm", width)
    found["lm_head.weight"] = matrix(seed, "lm_head", WORDS, width, 1.0)
    return found


def prompt(shape, seed):
    """Embeddings of text, picture and text, (65, d); and those of one more token, (d,)."""
    before, after = (centred(seed, name, m, shape.width) * 1.6 for name, m in (("pre", BEFORE), ("post", AFTER)))
    prototypes = centred(seed, "proto", PROTOTYPES, shape.width) * 1.5
    whose = np.floor((centred(seed, "own", VISUAL) + 0.5) * PROTOTYPES).astype(int)
    noise, shared = centred(seed, "vis", VISUAL, shape.width) * 0.9, centred(seed, "common", 1, shape.width) * 0.8
    picture = prototypes[whose] + noise + shared
    return np.concatenate([before, picture, after]), centred(seed, "next", shape.width) * 1.6


def digest(arrays):
    known = hashlib.sha256()
    for array in arrays:
        known.update(np.ascontiguousarray(array, dtype="<f8").tobytes())
    return known.hexdigest()[:16]


def model_of(shape, seed, dtype=torch.float64, kernel="sdpa", **changed):
    """The Llama, as Transformers has it."""
    config = LlamaConfig(
        hidden_size=shape.width,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_heads,
        intermediate_size=shape.inner,
        num_hidden_layers=LAYERS,
        vocab_size=WORDS,
        rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        tie_word_embeddings=False,
        attn_implementation=kernel,
        **changed,
    )
    model = LlamaForCausalLM(config).to(dtype).eval()
    model.load_state_dict({name: torch.from_numpy(value).to(dtype) for name, value in weights(shape, seed).items()})
    return model.requires_grad_(False)
