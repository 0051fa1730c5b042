"""A checkpoint's language model, exported for `integrations.onnxruntime`: by Transformers' own exporter of ONNX.

(optimum-onnx wants Transformers below 4.58, which reads none of the checkpoints that are written today.)
"""

import contextlib
import importlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vtp_export.errors import ExportError, ModelError, UnavailableError, first_line
from vtp_export.extras import install
from vtp_export.graphs.assembly import source_of
from vtp_export.integrations.onnxruntime import EMBEDDINGS, GIVEN, MODEL
from vtp_export.integrations.processors import quiet
from vtp_export.integrations.prompts import Frames
from vtp_export.integrations.transformers import BOTH_WAYS
from vtp_export.integrations.words import SCHEMA, Wording, write_words
from vtp_export.manifests import AXES

QUESTION = "What is in the picture?"
"""By which the words around a question are found."""

READ, PAST = 5, 3
"""Tokens of the sample that is traced, and of the cache before them: two numbers that are neither equal nor 1."""


class Decoder:
    """The language model of a checkpoint, loaded by Transformers in float32.

    Args:
        model: an embedded name, a folder or a hub id.
        revision: commit, branch or tag on the hub.

    Raises:
        UnavailableError: transformers is not installed, or has no exporter of ONNX.
        ModelError: there is no such language model, or one that cannot be fed from outside.
    """

    def __init__(self, model: str, revision: str | None = None) -> None:
        """See the class."""
        try:
            import transformers

            self._exporter: Any = importlib.import_module("transformers.exporters.exporter_onnx")
        except ImportError as error:
            raise UnavailableError(f"a decoder needs transformers 5.23 or newer: {install('export')}") from error
        at, source = {} if revision is None else {"revision": revision}, source_of(model)
        try:
            with quiet(transformers):
                loader: Any = transformers.AutoModelForImageTextToText
                self._model: Any = loader.from_pretrained(source, dtype=torch.float32, **at).eval()
                tokenizer: Any = transformers.AutoTokenizer.from_pretrained(source, **at)
        except Exception as error:  # whatever a strange config.json makes of Transformers' own checks
            raise ModelError(f"'{model}' has no language model that can be exported: {first_line(error)}") from error
        self._model.requires_grad_(False)
        self._tokenizer, self._name, family = tokenizer, model, self._model.config.model_type
        if family in BOTH_WAYS:
            raise ModelError(f"'{model}' cannot be exported: {family} attends both ways among a picture's tokens")
        if hasattr(self._model.config.vision_config, "deepstack_visual_indexes"):
            raise ModelError(f"'{model}' cannot be exported: {family} adds visual planes inside the language model")

    def wording(self) -> Wording:
        """What stands around a question.

        Raises:
            ModelError: the chat template cannot be used, or changes the question.
        """
        config = self._model.config
        text = config.get_text_config()
        frames = Frames(self._tokenizer, config.image_token_id)
        before, behind = frames.around(QUESTION)
        if behind.count(QUESTION) != 1:
            raise ModelError(f"the chat template of '{self._name}' does not repeat a question as it is: {behind!r}")
        eos = self._model.generation_config.eos_token_id
        ends = eos if isinstance(eos, list) else [self._tokenizer.eos_token_id if eos is None else eos]
        between, _, after = behind.partition(QUESTION)
        return Wording(
            schema=SCHEMA,
            model=self._name,
            width=text.hidden_size,
            layers=text.num_hidden_layers,
            before=before,
            behind=between,
            after=after,
            mark=frames.mark,
            image=config.image_token_id,
            ends=tuple(ends),
            axes=AXES if "mrope_section" in (getattr(text, "rope_parameters", None) or {}) else 1,
        )

    def write(self, folder: Path) -> None:
        """Write the language model, the embeddings of its words, and what must be known of words.

        Args:
            folder: an empty one.

        Raises:
            ModelError: see `wording`.
            ExportError: Transformers cannot export it.
        """
        wording = self.wording()
        write_words(folder, wording, self._tokenizer)
        with torch.inference_mode():
            table = self._model.get_input_embeddings()
            rows = table(torch.arange(table.num_embeddings)).float().numpy()
        np.save(folder / EMBEDDINGS, rows, allow_pickle=False)
        try:
            with _silence():
                self._export(wording, folder)
        except Exception as error:  # torch, onnxscript and Transformers raise what they like
            raise ExportError(
                f"the language model of '{self._name}' cannot be exported: {first_line(error)}"
            ) from error

    def _export(self, wording: Wording, folder: Path) -> None:
        import onnx_ir

        places = torch.arange(PAST + READ).expand(wording.axes, 1, -1)
        places = places if wording.axes > 1 else places[0]
        with torch.inference_mode():
            begun = self._model(
                inputs_embeds=torch.zeros(1, PAST, wording.width), position_ids=places[..., :PAST], use_cache=True
            )
        sample = {
            "inputs_embeds": torch.zeros(1, READ, wording.width),
            "attention_mask": torch.ones(1, PAST + READ, dtype=torch.int64),
            "position_ids": places[..., PAST:],
            "past_key_values": begun.past_key_values,
            "use_cache": True,
            "logits_to_keep": 1,
        }
        exported = self._exporter.OnnxExporter().export(
            self._model, sample, config=self._exporter.OnnxConfig(dynamic=True)
        )
        caches = [one.name for one in exported.program.graph.inputs if str(one.name).startswith(GIVEN)]
        if len(caches) != 2 * wording.layers:
            raise ModelError(f"its cache is no keys and values of {wording.layers} layers: {len(caches)} tensors")
        onnx_ir.save(exported.program, folder / MODEL, external_data=f"{MODEL}.data")


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """What torch prints and logs while it exports."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
