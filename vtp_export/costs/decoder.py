"""What a language model's prefill costs, by its shape: floating-point operations and the cache it leaves.

Counted are all products of matrices, two operations a multiply-add, and attention over all pairs of tokens, as kernels
that skip nothing compute it. Published figures differ by what they leave out: see `published_flops`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vtp_export.arguments import whole
from vtp_export.errors import SpecError, shown

LARGEST = 1 << 24


@dataclass(frozen=True, kw_only=True)
class DecoderShape:
    """The sizes of a decoder of Llama's kind: gated feed-forward, key-value heads shared by query heads.

    layers: how many. width: of a token. hidden: of the feed-forward network. heads, kv_heads: of queries, and of keys
    and values. head_width: of one. vocabulary: words.

    Raises:
        SpecError: a size is no whole number above 0, or the query heads are no multiple of the others.
    """

    layers: int
    width: int
    hidden: int
    heads: int
    kv_heads: int
    head_width: int
    vocabulary: int

    def __post_init__(self) -> None:
        """See the class."""
        for name, value in vars(self).items():
            whole(name, value, 1, LARGEST)
        if self.heads % self.kv_heads:
            raise SpecError(f"heads must be a multiple of kv_heads ({self.kv_heads}), not {self.heads}")

    @property
    def weights(self) -> int:
        """How many: embeddings once, norms left out."""
        attention = 2 * self.width * self.head_width * (self.heads + self.kv_heads)
        return self.layers * (attention + 3 * self.width * self.hidden) + self.width * self.vocabulary


PRESETS = {
    "0.5b": DecoderShape(
        layers=24, width=896, hidden=4864, heads=14, kv_heads=2, head_width=64, vocabulary=151936
    ),  # Qwen2.5-0.5B
    "1b": DecoderShape(
        layers=16, width=2048, hidden=8192, heads=32, kv_heads=8, head_width=64, vocabulary=128256
    ),  # Llama-3.2-1B
    "3b": DecoderShape(
        layers=28, width=3072, hidden=8192, heads=24, kv_heads=8, head_width=128, vocabulary=128256
    ),  # Llama-3.2-3B
    "7b": DecoderShape(
        layers=32, width=4096, hidden=11008, heads=32, kv_heads=32, head_width=128, vocabulary=32064
    ),  # LLaVA-1.5-7B
}
"""Shapes of published language models."""


def shape_of(config: Mapping[str, Any]) -> DecoderShape:
    """The shape that a `config.json` of Transformers states, in itself or in its `text_config`.

    Args:
        config: of a language model, or of a model with one; fields that are left out have Llama's defaults.

    Raises:
        SpecError: a size is missing or no number.
    """
    text = config.get("text_config", config)
    if not isinstance(text, Mapping):
        raise SpecError(f"text_config must be an object, not {shown(text)}")
    for name in ("num_hidden_layers", "hidden_size", "intermediate_size", "num_attention_heads", "vocab_size"):
        if name not in text:
            raise SpecError(f"the language model's config has no {name}")
    width, heads = whole("hidden_size", text["hidden_size"], 1), whole("heads", text["num_attention_heads"], 1)
    return DecoderShape(
        layers=text["num_hidden_layers"],
        width=width,
        hidden=text["intermediate_size"],
        heads=heads,
        kv_heads=text.get("num_key_value_heads") or heads,
        head_width=text.get("head_dim") or width // heads,
        vocabulary=text["vocab_size"],
    )


def prefill_flops(shape: DecoderShape, tokens: Sequence[int]) -> int:
    """Floating-point operations from the prompt's embeddings to the logits of the first new token.

    Args:
        shape: of the decoder.
        tokens: that enter each layer, text and image together, one number a layer: a method inside the language model
            drops some on the way.

    Raises:
        SpecError: there is another number of layers.

    Example:
        >>> shape = DecoderShape(layers=1, width=2, hidden=3, heads=1, kv_heads=1, head_width=2, vocabulary=5)
        >>> prefill_flops(shape, [10])  # 10 x (4 x 2 x 2 + 3 x 2 x 3) + 2 x 10 x 10 x 2, and 2 x 5 for the last
        1500
    """
    _refuse_layers(shape, tokens)
    projections = 2 * shape.width * shape.head_width * (shape.heads + shape.kv_heads)
    a_token = projections + 3 * shape.width * shape.hidden
    pairs = 2 * shape.heads * shape.head_width
    return 2 * (sum(n * a_token + n * n * pairs for n in tokens) + shape.width * shape.vocabulary)


def cache_bytes(shape: DecoderShape, tokens: Sequence[int], itemsize: int) -> int:
    """Size of the keys and values of all layers after the prefill.

    Args:
        shape: of the decoder.
        tokens: that each layer keeps, text and image together.
        itemsize: bytes of a number.

    Raises:
        SpecError: there is another number of layers.
    """
    _refuse_layers(shape, tokens)
    return 2 * sum(tokens) * shape.kv_heads * shape.head_width * itemsize


def published_flops(shape: DecoderShape, tokens: Sequence[int]) -> int:
    """The figure that papers of the field print as FLOPs: multiply-adds, two matrices of the feed-forward network.

    The paper's Table 9 follows it: of 605 tokens (576 and 29 of text) in the shape of LLaVA-1.5-7B it gives the 3.14 T
    that are printed, of 93 to 95 (64 visual ones) 0.47 to 0.48 T. A gated network has three matrices.

    Args:
        shape: of the decoder; keys and values are counted at the full width.
        tokens: see `prefill_flops`.

    Raises:
        SpecError: there is another number of layers.

    Source: Chen et al., "An Image is Worth 1/2 Tokens After Layer 2" (ECCV 2024), its computation budget.
    """
    _refuse_layers(shape, tokens)
    d, m = shape.width, shape.hidden
    return sum(4 * n * d * d + 2 * n * n * d + 2 * n * d * m for n in tokens)


def _refuse_layers(shape: DecoderShape, tokens: Sequence[int]) -> None:
    if len(tokens) != shape.layers:
        raise SpecError(f"tokens must be one number a layer, {shape.layers}, not {len(tokens)}")
