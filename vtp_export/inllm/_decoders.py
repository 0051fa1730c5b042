"""Which of Transformers' decoders a method can prune in, and why another cannot."""

from typing import TYPE_CHECKING, Any

from vtp_export.errors import ModelError

if TYPE_CHECKING:
    from vtp_export.inllm._cutting import Cutting

FAMILIES = ("llama", "mistral", "qwen2", "qwen3", "qwen2_vl_text", "qwen2_5_vl_text")
"""Whose layers `attention_rows` knows, each held against Transformers by a test."""

KERNELS = ("eager", "sdpa")
"""Kernels of attention in which the layers of a cache may differ in length."""


def refuse_unfit(decoder: Any, method: "Cutting") -> None:
    """See that a method can be what it is in this decoder.

    Raises:
        ModelError: it cannot; says why.
    """
    config = decoder.config
    family, kernel = config.model_type, config._attn_implementation
    if family not in FAMILIES:
        raise ModelError(f"pruning inside the decoder is not there for '{family}'; it is for: {', '.join(FAMILIES)}")
    other = sorted(set(getattr(config, "layer_types", None) or ()) - {"full_attention"})
    if other or (getattr(config, "sliding_window", None) and getattr(config, "use_sliding_window", True)):
        kinds = ", ".join(other) or "sliding_attention"
        raise ModelError(
            f"pruning inside the decoder needs layers that attend to all that was said, and this one has {kinds}"
        )
    if method.renumbers and "mrope_section" in (getattr(config, "rope_parameters", None) or {}):
        raise ModelError(
            f"this method counts positions anew, which is not defined for rows and columns of pictures ('{family}'); "
            "fastv, and sparsevlm with version=v2, keep them"
        )
    if config.num_attention_heads < method.heads:
        raise ModelError(
            f"this method asks the best {method.heads} heads, and the decoder has {config.num_attention_heads}; "
            "set best_heads to so many or fewer"
        )
    if kernel not in KERNELS:
        raise ModelError(
            "pruning inside the decoder leaves caches of unequal length, which is not there for attention by "
            f"'{kernel}'; load the model with attn_implementation {' or '.join(KERNELS)}"
        )
