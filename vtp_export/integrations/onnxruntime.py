"""A language model that ONNX Runtime runs alone: embeddings and a cache in, logits and the cache out.

Needs numpy, onnxruntime and tokenizers. `integrations.decoder` writes the folder.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vtp_export.errors import ModelError, UnavailableError, first_line
from vtp_export.extras import install
from vtp_export.integrations.greedy import GreedyAnswerer, Part
from vtp_export.integrations.words import Words
from vtp_export.runtime.machine import cores

MODEL, EMBEDDINGS = "decoder.onnx", "embeddings.npy"
"""The language model behind its embeddings, and these: (words, d) float32."""

GIVEN, RETURNED = "input.past_key_values", "output.past_key_values"
"""How the names of the cache's tensors begin; what follows is the same in both."""


class Answerer(GreedyAnswerer):
    """A folder that `vtp-export decoder` wrote, on the CPU.

    Args:
        folder: the folder.
        threads: CPU threads, or None for as many as the process may use.

    Raises:
        UnavailableError: onnxruntime or tokenizers is not installed.
        ModelError: a file is missing or damaged, or they do not fit each other.
    """

    runtime = "onnxruntime"

    def __init__(self, folder: str | Path, threads: int | None = None) -> None:
        """See the class."""
        folder = Path(folder)
        words = Words(folder)
        super().__init__(_Reader(folder, words, threads), words)


class _Reader:
    """See `greedy.Reader`."""

    def __init__(self, folder: Path, words: Words, threads: int | None) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise UnavailableError(f"onnxruntime is not installed: {install('onnxruntime')}") from error
        settings = onnxruntime.SessionOptions()
        settings.log_severity_level = 3
        settings.intra_op_num_threads = threads or cores()
        try:
            self._embeddings = np.load(folder / EMBEDDINGS, mmap_mode="r", allow_pickle=False)
            self._session: Any = onnxruntime.InferenceSession(
                str(folder / MODEL), settings, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its exceptions share no base class but Exception
            raise ModelError(f"the language model in '{folder}' cannot be opened: {first_line(error)}") from error
        self._axes, width = words.wording.axes, words.wording.width
        if self._embeddings.ndim != 2 or self._embeddings.shape[1] != width:
            raise ModelError(f"{EMBEDDINGS} of '{folder}' has shape {self._embeddings.shape}, and not (words, {width})")
        if self._embeddings.dtype.kind != "f" or len(self._embeddings) < words.count:
            rows = f"{len(self._embeddings)} rows of {self._embeddings.dtype}"
            raise ModelError(f"{EMBEDDINGS} of '{folder}' has {rows}, and floats for {words.count} words are right")
        given = {node.name: node.shape for node in self._session.get_inputs()}
        self._empty = {
            name: np.zeros((1, int(shape[1]), 0, int(shape[3])), np.float32)
            for name, shape in given.items()
            if name.startswith(GIVEN)
        }
        self._outputs = ["logits", *(RETURNED + name.removeprefix(GIVEN) for name in self._empty)]
        self._cache: dict[str, np.ndarray] = {}
        self._length = 0

    def begin(self, parts: Sequence[Part], places: np.ndarray | None) -> np.ndarray:
        self._cache, self._length = self._empty, 0
        rows = [part if isinstance(part, np.ndarray) else self._embedded(part) for part in parts]
        return self._run(np.concatenate(rows), places)

    def read(self, token: int, place: int | None) -> np.ndarray:
        return self._run(self._embedded([token]), None if place is None else np.full((self._axes, 1), place))

    def _embedded(self, ids: Sequence[int]) -> np.ndarray:
        return np.asarray(self._embeddings[list(ids)], np.float32)

    def _run(self, rows: np.ndarray, places: np.ndarray | None) -> np.ndarray:
        before, self._length = self._length, self._length + len(rows)
        positions = np.arange(before, self._length)[None] if places is None else places[:, None]
        feed = {
            "inputs_embeds": np.ascontiguousarray(rows[None], np.float32),
            "attention_mask": np.ones((1, self._length), np.int64),
            "position_ids": np.ascontiguousarray(positions, np.int64),
        }
        try:
            logits, *cache = self._session.run(self._outputs, {**feed, **self._cache})
        except Exception as error:  # as above
            raise ModelError(f"ONNX Runtime fails after {before} tokens: {first_line(error)}") from error
        self._cache = dict(zip(self._empty, cache, strict=True))
        return np.asarray(logits[0, -1], np.float32)
