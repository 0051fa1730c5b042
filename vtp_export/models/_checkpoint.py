"""Read single tensors out of a Hugging Face checkpoint: a local folder or a hub id, sharded or not, safetensors only.

Nothing is read that is not asked for: the index says which shard holds a tensor, tensors are mapped from the file,
and from the hub only the shards that hold a wanted tensor are fetched.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vtp_export.errors import ModelError, UnavailableError

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json", "model.ckpt", "consolidated.00.pth")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint whose files are fetched one by one.

    id: what the user named.
    revision: commit on the hub, or None for a local folder.
    fetch: file name to its local path, or None when the checkpoint has no such file.
    """

    id: str
    revision: str | None
    fetch: Callable[[str], Path | None] = field(repr=False)

    def section(self, name: str) -> dict[str, Any]:
        """An object inside `config.json`, empty when it has none.

        Raises:
            ModelError: there but not an object.
        """
        value = self.config.get(name)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise ModelError(f"{name} in the config.json of '{self.id}' is {value!r}; an object is needed")
        return value

    def json(self, name: str) -> dict[str, Any] | None:
        """A JSON file of the checkpoint, or None when it has none.

        Raises:
            ModelError: there but not a JSON object.
        """
        path = self.fetch(name)
        if path is None:
            return None
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ModelError(f"{name} of '{self.id}' cannot be read: {error}") from error
        if not isinstance(value, dict):
            raise ModelError(f"{name} of '{self.id}' is not a JSON object")
        return value

    @cached_property
    def config(self) -> dict[str, Any]:
        """`config.json`.

        Raises:
            ModelError: there is none.
        """
        config = self.json("config.json")
        if config is None:
            raise ModelError(f"'{self.id}' has no config.json; a Hugging Face model folder or hub id is needed")
        return config

    @cached_property
    def shards(self) -> Mapping[str, str]:
        """Tensor name to the file that holds it.

        Raises:
            ModelError: no safetensors here, or an index that makes no sense.
        """
        index = self.json(INDEX)
        if index is not None:
            shards = index.get("weight_map")
            if not isinstance(shards, dict) or not shards:
                raise ModelError(f"{INDEX} of '{self.id}' has no weight_map")
            for tensor, shard in shards.items():
                # Only names of files in the folder itself: an index must not lead the reader elsewhere on the disk.
                if not isinstance(shard, str) or Path(shard).name != shard:
                    raise ModelError(f"{INDEX} of '{self.id}' puts '{tensor}' into {shard!r}, which is no file name")
            return shards
        path = self.fetch(SINGLE)
        if path is not None:
            with _opened(path, SINGLE) as file:
                return dict.fromkeys(file.keys(), SINGLE)
        if any(self.fetch(name) is not None for name in PICKLES):
            raise ModelError(
                f"'{self.id}' has pickled weights only, which can run code when loaded; "
                f"convert it to safetensors (save_pretrained writes {SINGLE})"
            )
        raise ModelError(f"'{self.id}' has no weights: neither {SINGLE} nor {INDEX}")

    def prefix(self, ending: str, what: str) -> str:
        """What stands before `ending` in the one tensor name that ends with it.

        Raises:
            ModelError: none does. `what` names the part for the message.
        """
        found = sorted({name.removesuffix(ending) for name in self.shards if name.endswith(ending)}, key=len)
        if not found:
            raise ModelError(f"'{self.id}' has no {what}: no tensor is named '...{ending}'")
        return found[0]

    def read(self, wanted: Mapping[str, str]) -> dict[str, Tensor]:
        """Tensors, mapped from their files.

        Args:
            wanted: name in the checkpoint to the name the result should have.

        Raises:
            ModelError: a tensor or a shard is missing, truncated or damaged.
        """
        if missing := sorted(set(wanted) - set(self.shards)):
            raise ModelError(f"'{self.id}' lacks the tensor '{missing[0]}' ({len(missing)} missing in all)")
        result = {}
        for shard in sorted({self.shards[name] for name in wanted}):
            path = self.fetch(shard)
            if path is None:
                raise ModelError(f"'{self.id}' lacks the shard {shard}, which its index names; fetch it again")
            with _opened(path, shard) as file:
                held = set(file.keys())
                for name in (name for name in wanted if self.shards[name] == shard):
                    if name not in held:
                        raise ModelError(
                            f"shard {shard} of '{self.id}' lacks the tensor '{name}' that its index promises"
                        )
                    result[wanted[name]] = file.get_tensor(name)
        return result


class _opened:
    """`safetensors.safe_open` with its errors told in our words."""

    def __init__(self, path: Path, name: str) -> None:
        from safetensors import SafetensorError, safe_open

        try:
            self._file = safe_open(str(path), framework="pt")
        except (SafetensorError, OSError) as error:
            raise ModelError(f"{name} is truncated or damaged ({error}); fetch it again") from error

    def __enter__(self) -> Any:
        return self._file.__enter__()

    def __exit__(self, *exc: Any) -> None:
        self._file.__exit__(*exc)


def folder_checkpoint(folder: Path) -> Checkpoint:
    """A checkpoint on disk."""

    def fetch(name: str) -> Path | None:
        path = folder / name
        return path if path.is_file() else None

    return Checkpoint(str(folder), None, fetch)


def hub_checkpoint(model_id: str, revision: str | None) -> Checkpoint:
    """A checkpoint on the Hugging Face hub; files come through its cache.

    Raises:
        UnavailableError: huggingface_hub is not installed.
        ModelError: no such model, or the hub cannot be reached.
    """
    try:
        import huggingface_hub
        from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
    except ImportError as error:
        raise UnavailableError("a hub id needs huggingface_hub: pip install 'vtp-export[export]'") from error

    def fetch(name: str, revision: str | None) -> Path | None:
        try:
            if name in PICKLES:  # asked for only to be refused: no reason to fetch gigabytes
                return Path(name) if huggingface_hub.file_exists(model_id, name, revision=revision) else None
            return Path(huggingface_hub.hf_hub_download(model_id, name, revision=revision))
        except LocalEntryNotFoundError as error:
            cached = huggingface_hub.try_to_load_from_cache(model_id, name, revision=revision)
            if cached is huggingface_hub._CACHED_NO_EXIST:
                return None  # out of reach, but the cache remembers that the hub has no such file
            raise ModelError(
                f"cannot reach the hub for '{model_id}', and {name} is not in the local cache; "
                "download the model first, or name a local folder"
            ) from error
        except EntryNotFoundError:
            return None
        except Exception as error:  # the client also lets through errors of the HTTP and transfer libraries below it
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise ModelError(f"cannot fetch {name} of '{model_id}' from the hub: {reason}") from error

    config = fetch("config.json", revision)
    # The cache path ends in snapshots/COMMIT/config.json. Everything else is asked for by that commit: a branch may
    # move between two requests, and the commit is what makes the export reproducible.
    commit = config.parent.name if config is not None and config.parent.parent.name == "snapshots" else revision
    return Checkpoint(model_id, commit, lambda name: fetch(name, commit))


def digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, dtypes, shapes and bytes, in the order of the names."""
    total = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        total.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        total.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def size_in_bytes(tensors: Iterable[Tensor]) -> int:
    """Bytes of all tensors together, in the dtype they have."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
