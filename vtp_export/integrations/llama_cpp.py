"""llama.cpp, given an image's tokens in a batch of embeddings: through llama-cpp-python, on llama.cpp's public C API.

A batch takes embeddings in place of token ids, so a GGUF of the language model alone is enough, and no mmproj. What
llama.cpp answers with an abort of the whole process is refused here first: a batch wider than its context allows, and
rows of another width than the model's.
"""

import ctypes
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vtp_export.errors import ModelError, UnavailableError
from vtp_export.extras import install
from vtp_export.integrations.greedy import GreedyAnswerer, Part
from vtp_export.integrations.words import Words
from vtp_export.runtime.machine import cores

CONTEXT = 4096
"""Tokens of a prompt and its answer, where nobody says."""

AXES = 4
"""Positions of an embedding where llama.cpp counts rows and columns: time, row, column, and one that is 0."""


def library() -> Any:
    """llama-cpp-python's low level, silent.

    Raises:
        UnavailableError: it is not installed.
    """
    try:
        import llama_cpp
    except ImportError as error:
        raise UnavailableError(f"llama-cpp-python is not installed: {install('llama-cpp')}") from error
    llama_cpp.llama_log_set(_silent(llama_cpp), ctypes.c_void_p(0))
    return llama_cpp


def embed(
    context: Any,
    before: Sequence[int],
    tokens: np.ndarray,
    after: Sequence[int],
    places: np.ndarray | None = None,
) -> np.ndarray:
    """Read a prompt with one picture into an empty context.

    Args:
        context: of `llama_init_from_model`; what it has read is forgotten.
        before: token ids before the picture.
        tokens: (m, d) floats, such as `output[0].tokens`.
        after: token ids behind the picture.
        places: (3, m + text) positions of a model that counts rows and columns, see `runtime.positions.places_of`; None
            where tokens are counted.

    Returns:
        (words,) float32 logits of what follows.

    Raises:
        ModelError: the tokens are of another width than the model's, the prompt is longer than the context, or the
            model wants positions of its own; llama.cpp would abort, or read them wrongly.
    """
    return read(context, [before, np.asarray(tokens), after], places)


def read(context: Any, parts: Sequence[Part], places: np.ndarray | None = None, start: int = 0) -> np.ndarray:
    """As `embed`, of any parts; from `start` tokens on, which the context has read already."""
    llama = library()
    model = llama.llama_get_model(context)
    width, total = llama.llama_model_n_embd(model), sum(map(len, parts))
    if start + total > (most := llama.llama_n_ctx(context)):
        raise ModelError(
            f"the prompt has {start + total} tokens and the context holds {most}; open it with a larger n_ctx"
        )
    for part in parts:
        if isinstance(part, np.ndarray) and (part.ndim != 2 or part.shape[1] != width):
            raise ModelError(f"tokens have shape {part.shape}, and this language model reads rows of {width} channels")
    rows_and_columns = llama.llama_model_rope_type(model) in _mrope(llama)
    if rows_and_columns != (places is not None):
        wants = "rows and columns" if rows_and_columns else "tokens alone"
        raise ModelError(f"this language model counts {wants}, and the picture's tokens were placed otherwise")
    if start == 0:
        llama.llama_memory_clear(llama.llama_get_memory(context), True)
    done, most = 0, int(llama.llama_n_batch(context))
    for part in parts:
        for piece in (part[i : i + most] for i in range(0, len(part), most)):
            own = np.arange(start + done, start + done + len(piece))[None] if places is None else places[:, done:]
            _decode(llama, context, piece, own[:, : len(piece)], done + len(piece) == total)
            done += len(piece)
    words = llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(model))
    return np.ctypeslib.as_array(llama.llama_get_logits_ith(context, -1), (words,)).copy()


class Answerer(GreedyAnswerer):
    """A GGUF file of a language model, with `words.json` and `tokenizer.json` of `vtp-export decoder` beside it.

    Args:
        file: the GGUF file.
        threads: CPU threads, or None for as many as the process may use.
        context: most tokens of a prompt and its answer.

    Raises:
        UnavailableError: llama-cpp-python or tokenizers is not installed.
        ModelError: a file is missing or damaged, or llama.cpp knows no such architecture.
    """

    runtime = "llama-cpp"

    def __init__(self, file: str | Path, threads: int | None = None, context: int = CONTEXT) -> None:
        """See the class."""
        words = Words(Path(file).parent)
        super().__init__(_Reader(Path(file), threads, context), words)


class _Reader:
    """See `greedy.Reader`."""

    def __init__(self, file: Path, threads: int | None, context: int) -> None:
        self._llama = llama = library()
        if not file.is_file():
            raise ModelError(f"no file '{file}'; name a GGUF of the language model")
        llama.llama_backend_init()
        self._model = llama.llama_model_load_from_file(str(file).encode(), llama.llama_model_default_params())
        if not self._model:
            raise ModelError(
                f"llama.cpp cannot load '{file}': it is no GGUF, or of an architecture that it does not know"
            )
        settings = llama.llama_context_default_params()
        settings.n_ctx, settings.n_threads, settings.n_threads_batch = context, threads or cores(), threads or cores()
        self._context = llama.llama_init_from_model(self._model, settings)
        if not self._context:
            raise ModelError(f"llama.cpp has no room for a context of {context} tokens of '{file}'; ask for fewer")
        self._length = 0

    def begin(self, parts: Sequence[Part], places: np.ndarray | None) -> np.ndarray:
        self._length = sum(map(len, parts))
        return read(self._context, parts, places)

    def read(self, token: int, place: int | None) -> np.ndarray:
        places = None if place is None else np.full((3, 1), place)
        self._length += 1
        return read(self._context, [[token]], places, self._length - 1)

    def __del__(self) -> None:
        if getattr(self, "_context", None):
            self._llama.llama_free(self._context)
        if getattr(self, "_model", None):
            self._llama.llama_model_free(self._model)


def _decode(llama: Any, context: Any, piece: Part, places: np.ndarray, last: bool) -> None:
    """One batch; the logits of its last token are computed where it is the last of all."""
    count, embeddings = len(piece), isinstance(piece, np.ndarray)
    axes = AXES if embeddings and len(places) > 1 else 1
    rows = np.zeros((axes, count), np.int32)
    rows[: len(places)] = places[:axes]
    given = np.ascontiguousarray(piece, np.float32 if embeddings else np.int32)
    wanted = np.zeros(count, np.int8)
    wanted[-1] = last
    one = (llama.llama_seq_id * 1)(0)
    sequences = (ctypes.POINTER(llama.llama_seq_id) * count)(
        *[ctypes.cast(one, ctypes.POINTER(llama.llama_seq_id))] * count
    )
    lengths = (ctypes.c_int32 * count)(*[1] * count)
    batch = llama.llama_batch(
        n_tokens=count,
        token=None if embeddings else given.ctypes.data_as(ctypes.POINTER(llama.llama_token)),
        embd=given.ctypes.data_as(ctypes.POINTER(ctypes.c_float)) if embeddings else None,
        pos=rows.ctypes.data_as(ctypes.POINTER(llama.llama_pos)),
        n_seq_id=lengths,
        seq_id=sequences,
        logits=wanted.ctypes.data_as(ctypes.POINTER(ctypes.c_int8)),
    )
    if code := llama.llama_decode(context, batch):
        raise ModelError(f"llama.cpp cannot read a batch of {count} tokens (llama_decode gave {code})")


def _mrope(llama: Any) -> set[int]:
    names = ("LLAMA_ROPE_TYPE_MROPE", "LLAMA_ROPE_TYPE_IMROPE")
    return {getattr(llama, name) for name in names if hasattr(llama, name)}


_held: list[Any] = []


def _silent(llama: Any) -> Any:
    """A callback that drops what llama.cpp logs; held, or it would be freed."""
    if not _held:
        _held.append(llama.llama_log_callback(lambda level, text, data: None))
    return _held[0]
