"""What tells one language model from another, without reading all of it."""

import hashlib
import json
from typing import Any

import torch

SAMPLES = 1024
"""Elements of each tensor, evenly spread: training moves all of them, and a billion need not be read."""


@torch.inference_mode()
def language_model_digest(model: Any, tokenizer: Any) -> str:
    """SHA-256 of a sample of the weights, of the vocabulary and of the chat template.

    Args:
        model: as Transformers has it.
        tokenizer: its own.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        flat = tensor.reshape(-1)
        sample = flat[:: max(1, len(flat) // SAMPLES)].float().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(sample.numpy().tobytes())
    words = {"vocabulary": tokenizer.get_vocab(), "template": tokenizer.chat_template}
    digest.update(json.dumps(words, sort_keys=True).encode())
    return digest.hexdigest()
