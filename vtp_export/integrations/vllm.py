"""Hand an image's pruned tokens to vLLM in place of the image.

The server must be started with `--enable-mm-embeds`, for clients that are trusted: vLLM does not survive embeddings of
another width. The number of placeholders follows the number of tokens, so any number works for LLaVA and LLaVA-NeXT.
Not for Qwen-VL: there the positions come from the image's grid, of which a pruned image has only a part.

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

from vtp_export.errors import ImageError

STORAGES = {"float16": "HalfStorage", "float32": "FloatStorage"}


def image_part(tokens: np.ndarray) -> dict[str, str]:
    """A content part of a chat message, in place of `{"type": "image_url", ...}`.

    Args:
        tokens: (m, d) of one image, without empty slots: `output[i].tokens`.
    """
    rows = half(tokens)[None]  # (1, m, d): one image
    return {"type": "image_embeds", "image_embeds": base64.b64encode(torch_file(rows)).decode("ascii")}


def multi_modal_data(tokens: np.ndarray) -> dict[str, Any]:
    """For `vllm.LLM(..., enable_mm_embeds=True).generate({"prompt": ..., "multi_modal_data": this})`. Needs torch.

    Args:
        tokens: (m, d) of one image, without empty slots: `output[i].tokens`.
    """
    import torch

    return {"image": torch.from_numpy(half(tokens)[None])}


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


def torch_file(array: np.ndarray) -> bytes:
    """What `torch.save(torch.from_numpy(array), file)` would write, without torch.

    Args:
        array: C order, float16 or float32.
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
