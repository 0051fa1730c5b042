"""The prefill of a language model, to be timed: of a checkpoint, or with random weights in a published shape.

What a prompt costs depends on how many tokens it has and not on what they say, so embeddings are random too.
"""

from typing import Any

import numpy as np
import torch

from vtp_export.costs.decoder import PRESETS, DecoderShape, shape_of
from vtp_export.errors import ModelError, SpecError, UnavailableError, first_line
from vtp_export.extras import install
from vtp_export.functional.devices import dtype_of, prepare
from vtp_export.graphs.assembly import source_of
from vtp_export.integrations.processors import quiet

SPREAD = 0.02
"""Of random embeddings."""


class Prefill:
    """A decoder that reads prompts of a given length.

    Args:
        decoder: a name of `costs.decoder.PRESETS`, or a folder or hub id whose language model is used.
        revision: commit, branch or tag on the hub.
        device: "cpu" or "cuda"; an order.
        dtype: what it computes with, one of `functional.devices.DTYPES`.

    Raises:
        UnknownNameError: no such device or dtype.
        UnavailableError: transformers is not installed, or there is no such device here.
        ModelError: it is neither a preset nor a checkpoint whose language model Transformers can load.
    """

    def __init__(
        self, decoder: str, revision: str | None = None, *, device: str = "cpu", dtype: str = "float32"
    ) -> None:
        self._dtype = dtype_of(dtype)
        prepare(device)
        try:
            import transformers
        except ImportError as error:
            raise UnavailableError(f"a prefill needs transformers: {install('export')}") from error
        self.name = decoder if decoder not in PRESETS else f"random weights, {decoder}"
        with quiet(transformers):
            model = self._random(transformers, PRESETS[decoder]) if decoder in PRESETS else None
            self._model: Any = model or self._loaded(transformers, decoder, revision)
        self._model = self._model.to(device).eval().requires_grad_(False)
        self.shape: DecoderShape = shape_of(self._model.config.to_dict())
        self.itemsize = self._dtype.itemsize

    def _random(self, transformers: Any, shape: DecoderShape) -> Any:
        config = transformers.LlamaConfig(
            num_hidden_layers=shape.layers,
            hidden_size=shape.width,
            intermediate_size=shape.hidden,
            num_attention_heads=shape.heads,
            num_key_value_heads=shape.kv_heads,
            head_dim=shape.head_width,
            vocab_size=shape.vocabulary,
            tie_word_embeddings=True,
        )
        return transformers.AutoModelForCausalLM.from_config(config, dtype=self._dtype)

    def _loaded(self, transformers: Any, decoder: str, revision: str | None) -> Any:
        at = {} if revision is None else {"revision": revision}
        try:
            return transformers.AutoModelForImageTextToText.from_pretrained(source_of(decoder), dtype=self._dtype, **at)
        except Exception as error:  # whatever a strange config.json makes of Transformers' own checks
            raise ModelError(
                f"'{decoder}' is no decoder: neither one of {', '.join(PRESETS)} nor a model whose language model can "
                f"be loaded: {first_line(error)}"
            ) from error

    @torch.inference_mode()
    def __call__(self, tokens: int) -> np.ndarray:
        """Read a prompt.

        Args:
            tokens: of text and picture together.

        Returns:
            (words,) float32 logits of the first new token.

        Raises:
            SpecError: there is no token.
        """
        if tokens < 1:
            raise SpecError(f"a prompt has at least one token, not {tokens}")
        embeddings = torch.randn(1, tokens, self.shape.width, generator=torch.Generator().manual_seed(0)) * SPREAD
        given = embeddings.to(self._model.device, self._dtype)
        out = self._model(inputs_embeds=given, use_cache=True, logits_to_keep=1)
        logits: np.ndarray = out.logits[0, -1].float().cpu().numpy()  # which waits for a GPU
        return logits
