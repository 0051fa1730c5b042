"""Hand an image's pruned tokens to vLLM in place of the image.

The server must be started with `--enable-mm-embeds`, for clients that are trusted: vLLM does not survive embeddings of
another width. The number of placeholders follows the number of tokens, so any number works for LLaVA and LLaVA-NeXT.

Qwen's models count rows and columns (M-RoPE), and vLLM derives them, and the number of placeholders, from the grid of
the whole image that is sent beside its tokens; no input of it takes the positions themselves. So of these models what
fills a grid can be sent, and pruned tokens are refused: under any grid they would be read in wrong places. The planes
of deepstack go behind the tokens, channel by channel, as vLLM cuts them off again.

Over HTTP vLLM reads a tensor in the format of `torch.save`, in base64. It is written here without torch, which an
edge device does not have; `torch.load(weights_only=True)` reads it.
"""

import base64
import io
import pickle
import struct
import zipfile
from typing import Any

import numpy as np

from vtp_export.errors import ImageError, UnavailableError
from vtp_export.runtime.packing import Picture
from vtp_export.runtime.positions import axes_positions, following

STORAGES = {"float16": "HalfStorage", "float32": "FloatStorage", "int64": "LongStorage"}

MERGE = 2
"""Patches along an edge of a token, in every released model that counts rows and columns."""


def image_part(read: np.ndarray | Picture, *, merge: int = MERGE) -> dict[str, Any]:
    """A content part of a chat message, in place of `{"type": "image_url", ...}`; one for each image of a prompt.

    Args:
        read: what the language model reads of one image, of `front_end.pictures`; or, where it counts tokens alone,
            its tokens (m, d) without empty slots: `output[i].tokens`.
        merge: patches along an edge of a token, where it counts rows and columns.

    Raises:
        UnavailableError: vLLM's input cannot carry it, see `embeddings`.
        ImageError: no floats of such a shape, or numbers that half precision cannot hold.
    """
    rows, grid = embeddings(read, merge)
    if grid is None:
        return {"type": "image_embeds", "image_embeds": _text(rows[None])}  # (1, m, d): one image
    return {"type": "image_embeds", "image_embeds": {"image_embeds": _text(rows), "image_grid_thw": _text(grid)}}


def multi_modal_data(read: np.ndarray | Picture, *, merge: int = MERGE) -> dict[str, Any]:
    """For `vllm.LLM(..., enable_mm_embeds=True).generate({"prompt": ..., "multi_modal_data": this})`. Needs torch.

    Args:
        read: as of `image_part`.
        merge: as of `image_part`.

    Raises:
        UnavailableError, ImageError: as `image_part`.
    """
    import torch

    rows, grid = embeddings(read, merge)
    if grid is None:
        return {"image": torch.from_numpy(rows[None])}
    return {"image": {"image_embeds": torch.from_numpy(rows), "image_grid_thw": torch.from_numpy(grid[None])}}


def embeddings(read: np.ndarray | Picture, merge: int = MERGE) -> tuple[np.ndarray, np.ndarray | None]:
    """What vLLM is given of an image.

    Args:
        read: as of `image_part`.
        merge: as of `image_part`.

    Returns:
        (m, d) float16, or (m, d * (1 + planes)) with deepstack; and (3,) int64 its frames and its rows and columns of
        patches, None where the language model counts tokens alone.

    Raises:
        UnavailableError: text stands among the tokens, or vLLM would read them in other places than they stood.
        ImageError: as `image_part`.
    """
    if not isinstance(read, Picture):
        return half(read), None
    if len(read.runs) > 1:
        raise UnavailableError(
            f"text stands among the tokens of this picture, which are {len(read.runs)} runs, and vLLM takes the "
            "embeddings of an image as one; splice them with vtp_export.integrations.transformers"
        )
    if read.position_ids is None:
        return half(read.tokens), None
    rows, columns = (int(axis.max(initial=0)) + 1 for axis in read.position_ids[1:])
    derived = axes_positions((rows, columns))
    if not np.array_equal(derived, read.position_ids) or following((rows, columns)) != read.extent:
        raise UnavailableError(
            f"vLLM derives the places of an image's tokens from its whole grid, and would read these "
            f"{len(read.tokens)} pruned ones in other places than they stood; keep all (--pruner none), or splice them "
            "with vtp_export.integrations.transformers"
        )
    planes = [] if read.deepstack is None else [read.deepstack]
    grid = np.array([1, rows * merge, columns * merge], dtype=np.int64)
    return half(np.concatenate([read.tokens, *planes], axis=1)), grid


def half(tokens: np.ndarray) -> np.ndarray:
    """Tokens in half precision, which is what language models compute in.

    Raises:
        ImageError: no floats of shape (m, d), or numbers that half precision cannot hold.
    """
    if not isinstance(tokens, np.ndarray) or tokens.dtype.kind != "f":
        kind = tokens.dtype.name if isinstance(tokens, np.ndarray) else type(tokens).__name__
        raise ImageError(f"tokens are a NumPy array of floats, such as output[0].tokens, and this is {kind}")
    if tokens.ndim != 2:
        raise ImageError(f"tokens have shape {tokens.shape}; those of one image have two axes, (m, d)")
    rows = np.ascontiguousarray(tokens)
    largest = float(np.abs(rows).max(initial=0))
    if not largest <= float(np.finfo(np.float16).max):
        raise ImageError(f"tokens reach {largest:g}, and half precision ends at 65504")
    narrow: np.ndarray = rows.astype(np.float16)
    return narrow


def _text(array: np.ndarray) -> str:
    return base64.b64encode(torch_file(array)).decode("ascii")


def torch_file(array: np.ndarray) -> bytes:
    """What `torch.save(torch.from_numpy(array), file)` would write, without torch.

    Args:
        array: C order, float16, float32 or int64.
    """
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_STORED) as file:
        file.writestr("archive/data.pkl", _pickled(array))
        file.writestr("archive/byteorder", "little")
        file.writestr("archive/data/0", array.astype(array.dtype.newbyteorder("<")).tobytes())
        file.writestr("archive/version", "3\n")
    return held.getvalue()


def _pickled(array: np.ndarray) -> bytes:
    """A call of torch's function that rebuilds a tensor from its storage, in pickle's own instructions."""
    whole, strides = array.shape, [stride // array.itemsize for stride in array.strides]
    storage = [
        pickle.MARK,
        _string("storage"),
        _name("torch", STORAGES[array.dtype.name]),
        _string("0"),
        _string("cpu"),
        _number(array.size),
        pickle.TUPLE,
        pickle.BINPERSID,
    ]
    sizes = [[pickle.MARK, *map(_number, lengths), pickle.TUPLE] for lengths in (whole, strides)]
    hooks = [_name("collections", "OrderedDict"), pickle.EMPTY_TUPLE, pickle.REDUCE]
    arguments = [pickle.MARK, *storage, _number(0), *sizes[0], *sizes[1], pickle.NEWFALSE, *hooks, pickle.TUPLE]
    call = [_name("torch._utils", "_rebuild_tensor_v2"), *arguments, pickle.REDUCE]
    return b"".join([pickle.PROTO, b"\x02", *call, pickle.STOP])


def _string(text: str) -> bytes:
    return pickle.BINUNICODE + struct.pack("<I", len(text)) + text.encode("ascii")


def _number(value: int) -> bytes:
    return pickle.BININT + struct.pack("<i", value)


def _name(module: str, name: str) -> bytes:
    return pickle.GLOBAL + f"{module}\n{name}\n".encode("ascii")
