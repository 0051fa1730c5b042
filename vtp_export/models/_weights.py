"""Read single tensors out of a checkpoint, sharded or not, safetensors only.

Nothing is read that is not asked for: the index says which shard holds a tensor, tensors are mapped from the file,
and from the hub only the shards that hold a wanted tensor are fetched.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vtp_export.errors import ModelError, first_line, shown
from vtp_export.models._checkpoint import ADAPTER, MERGE, Checkpoint, original_layout

INDEX, SINGLE = "model.safetensors.index.json", "model.safetensors"
ENDING = ".safetensors"
PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json", "model.ckpt", "consolidated.00.pth")
ADAPTER_WEIGHTS = "adapter_model.safetensors"

INDEX_BYTES = 64 << 20
"""Three times the index of the largest models in use, which have 200,000 tensors."""

LARGEST = torch.finfo(torch.float32).max

PLAIN = (torch.float16, torch.bfloat16, torch.float32, torch.float64)

ROOTS = {"model", "base_model", "vision_tower", "vision_model", "visual"}
"""Words before the name of a layer that differ between versions of Transformers, which reads all of them alike."""

ADAPTED = re.compile(
    r"(^|\.)((lora|hada|lokr|ia3|oft|vera|fourierft|hra|bone|shira|c3a)_|base_layer|original_module|modules_to_save)"
)
"""In the names that adapters give to what stands beside, or in place of, a weight; not Gemma 3's `mm_soft_emb_norm`."""


def released_name(name: str, names: Iterable[tuple[str, str]]) -> str:
    """Of a tensor in a checkpoint, from ours: each of our parts of names gives way to the released one, in turn.

    Example:
        >>> released_name("encoder.layers.3.bias", [("encoder.layers.", "layer."), (".bias", ".b")])
        'layer.3.b'
    """
    for own, released in names:
        name = name.replace(own, released)
    return name


class Weights:
    """The tensors of a checkpoint.

    Args:
        checkpoint: whose.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint

    @cached_property
    def files(self) -> Mapping[str, str]:
        """Tensor name to the file that holds it.

        As Transformers: what `config.json` names, else the single file, else the index.

        Raises:
            ModelError: no safetensors here, or an index that makes no sense.
        """
        named = self.checkpoint.config.get("transformers_weights")
        endings = (".safetensors", ".safetensors.index.json")
        if named is not None and not (_is_file_name(named) and named.endswith(endings)):
            raise ModelError(
                f"transformers_weights in the config.json of '{self.checkpoint.id}' is {shown(named)}; "
                "the name of a safetensors file beside it is needed"
            )
        for name in (SINGLE, INDEX) if named is None else (named,):
            path = self.checkpoint.fetch(name)
            if path is not None:
                return self._indexed(name) if name.endswith(".json") else dict.fromkeys(_names(path, name), name)
        raise ModelError(self._why_no_weights(named))

    def _indexed(self, name: str) -> Mapping[str, str]:
        index = self.checkpoint.json(name, INDEX_BYTES) or {}
        files = index.get("weight_map")
        if not isinstance(files, dict) or not files:
            raise ModelError(f"{name} of '{self.checkpoint.id}' has no weight_map")
        for tensor, file in files.items():
            # Only names of files in the folder itself: an index must not lead the reader elsewhere on the disk.
            if not _is_file_name(file):
                raise ModelError(
                    f"{name} of '{self.checkpoint.id}' puts {shown(tensor)} into {shown(file)}, which is no file name"
                )
            if not file.endswith(ENDING):
                raise ModelError(
                    f"{name} of '{self.checkpoint.id}' puts {shown(tensor)} into {shown(file)}, and only safetensors "
                    f"are read: other weights can run code when loaded; convert them (save_pretrained writes {SINGLE})"
                )
        return files

    def _why_no_weights(self, named: str | None) -> str:
        model = self.checkpoint.id
        if named is not None:
            return f"'{model}' lacks {named}, which its config.json names as its weights; fetch it again"
        if self.checkpoint.fetch(ADAPTER) is not None:
            return f"'{model}' has no weights but an adapter's (LoRA); {MERGE}"
        if any(self.checkpoint.fetch(name) is not None for name in PICKLES):
            return (
                f"'{model}' has pickled weights only, which can run code when loaded; "
                f"convert it to safetensors (save_pretrained writes {SINGLE})"
            )
        where = " in the local cache, and the hub cannot be reached; download the model first"
        return f"'{model}' has no weights: neither {SINGLE} nor {INDEX}{where if self.checkpoint.unasked else ''}"

    def prefixes(self, parts: Mapping[str, str]) -> dict[str, str]:
        """What stands before each part's name, all parts being of one model.

        A file may hold several models (a policy and its target, a copy of averaged weights). Then that one counts
        whose names Transformers reads, those without a word of their own in front.

        Args:
            parts: a part's description, for messages, to the ending of the one tensor name that tells it.

        Raises:
            ModelError: a part is missing, parts are of two models, or it cannot be told which of several is meant.
        """
        places = {what: [n.removesuffix(end) for n in self.files if n.endswith(end)] for what, end in parts.items()}
        for what, prefixes in places.items():
            if not prefixes:
                raise ModelError(self._lacks(what, parts[what]))
        if any(len(prefixes) > 1 for prefixes in places.values()):
            own = {what: [p for p in prefixes if not _own_name(p)] for what, prefixes in places.items()}
            if any(len(prefixes) != 1 for prefixes in own.values()):
                what, prefixes = max(places.items(), key=lambda item: len(item[1]))
                several = " and ".join(shown(prefix) for prefix in sorted(prefixes)[:4])
                raise ModelError(
                    f"'{self.checkpoint.id}' holds more than one {what}, under {several}, and it cannot be told which "
                    "one is meant; save the one model alone"
                )
            places = own
        chosen = {what: prefixes[0] for what, prefixes in places.items()}
        words = {_own_name(prefix).partition(".")[0] for prefix in chosen.values()} - {""}
        if len(words) > 1:
            whose = " and ".join(f"the {what} of {shown(prefix)}" for what, prefix in chosen.items())
            raise ModelError(f"'{self.checkpoint.id}' holds {whose}, which are two models; save the one model alone")
        return chosen

    def _lacks(self, what: str, ending: str) -> str:
        if any("mm_projector." in name for name in self.files):
            return original_layout(self.checkpoint.id)
        if adapted := next((name for name in self.files if ADAPTED.search(name)), None):
            return f"'{self.checkpoint.id}' has an adapter (LoRA) that was not merged ({shown(adapted)}); {MERGE}"
        return f"'{self.checkpoint.id}' has no {what}: no tensor is named '...{ending}', as Transformers names it"

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor, from its file's header.

        Raises:
            ModelError: as `read`.
        """
        self._check_names((name,))
        path = self._fetched(self.files[name])
        with _opened(path, self.files[name]) as file:
            self._check_held(file, name)
            return tuple(file.get_slice(name).get_shape())

    def read(self, wanted: Mapping[str, str]) -> Iterator[tuple[str, Tensor]]:
        """Tensors one after another, in the order of their new names.

        Each is mapped from its file, and counts as memory as long as it is held: who keeps it takes a copy.

        Args:
            wanted: name in the checkpoint to the name the result should have.

        Raises:
            ModelError: a tensor or a file is missing, truncated or damaged; a tensor is quantised, changed by an
                adapter, or not finite.
        """
        self._check_names(wanted)
        for name, new in sorted(wanted.items(), key=lambda item: item[1]):
            shard = self.files[name]
            with _opened(self._fetched(shard), shard) as file:  # anew: an open file keeps what was read of it
                self._check_held(file, name)
                yield new, self._checked(file.get_tensor(name), name)

    def _fetched(self, name: str) -> Path:
        path = self.checkpoint.fetch(name)
        if path is None:
            raise ModelError(f"'{self.checkpoint.id}' lacks the shard {name}, which its index names; fetch it again")
        return path

    def _check_names(self, wanted: Collection[str]) -> None:
        self._check_plain(wanted)
        if missing := sorted(set(wanted) - set(self.files)):
            raise ModelError(
                f"'{self.checkpoint.id}' lacks the tensor {shown(missing[0])} ({len(missing)} missing in all)"
            )

    def _check_plain(self, wanted: Collection[str]) -> None:
        """Refuse layers of which a weight is only a part: adapters beside it, or what it was quantised with."""
        layers = {_own_name(name.rpartition(".")[0]) for name in wanted if name.endswith((".weight", ".bias"))}
        beside = _beside(self.files, layers)
        if self.checkpoint.fetch(ADAPTER) is not None:
            path = self.checkpoint.fetch(ADAPTER_WEIGHTS)
            beside = ([ADAPTER] if path is None else _beside(_names(path, ADAPTER_WEIGHTS), layers)) or beside
        if not beside:
            return
        name = next((name for name in beside if name == ADAPTER or ADAPTED.search(name)), None)
        if name is not None:
            raise ModelError(
                f"'{self.checkpoint.id}' has an adapter (LoRA) that was not merged ({shown(name)}); {MERGE}"
            )
        raise ModelError(f"'{self.checkpoint.id}' has {shown(beside[0])}: {self._quantised()}")

    def _quantised(self) -> str:
        method = (self.checkpoint.section("quantization_config") or {}).get("quant_method")
        how = "" if method is None else f" (its config.json says {shown(method)})"
        return f"quantised weights are not supported{how}; name the checkpoint in float32, float16 or bfloat16"

    def _check_held(self, file: Any, name: str) -> None:
        if name not in file.keys():  # noqa: SIM118, no mapping
            raise ModelError(
                f"shard {self.files[name]} of '{self.checkpoint.id}' lacks the tensor {shown(name)} that its index "
                "promises"
            )

    def _checked(self, tensor: Tensor, name: str) -> Tensor:
        """Float32 must hold it, or everything behind it is a NaN."""
        if tensor.dtype not in PLAIN:  # it may have the right shape, and mean nothing without its scales
            kind = str(tensor.dtype).removeprefix("torch.")
            raise ModelError(f"tensor {name} of '{self.checkpoint.id}' is {kind}: {self._quantised()}")
        low, high = tensor.aminmax() if tensor.numel() else (0.0, 0.0)  # a NaN is both; ten times as fast as isfinite
        if not -LARGEST <= float(low) <= float(high) <= LARGEST:
            raise ModelError(
                f"tensor {name} in {self.files[name]} of '{self.checkpoint.id}' holds a NaN or an infinity; "
                "the file is damaged, or the training that made it diverged"
            )
        return tensor


class _opened:
    """`safetensors.safe_open` with its errors told in our words."""

    def __init__(self, path: Path, name: str) -> None:
        from safetensors import SafetensorError, safe_open

        try:
            path.open("rb").close()  # of a file that may not be read safetensors says that there is none
            self._file = safe_open(str(path), framework="pt")
        except PermissionError as error:
            raise ModelError(f"{name} cannot be read: {error.strerror or error}") from error
        except (SafetensorError, OSError) as error:
            raise ModelError(f"{name} is truncated or damaged ({first_line(error)}); fetch it again") from error

    def __enter__(self) -> Any:
        return self._file.__enter__()

    def __exit__(self, *exc: Any) -> None:
        self._file.__exit__(*exc)


def _names(path: Path, name: str) -> list[str]:
    with _opened(path, name) as file:
        return list(file.keys())


def _is_file_name(value: Any) -> bool:
    plain = isinstance(value, str) and value.isprintable() and value not in ("", ".", "..")
    return plain and len(value) < 256 and Path(value).name == value


def _own_name(name: str) -> str:
    """A layer's name without the words in front that mean nothing."""
    return ".".join(part for part in name.split(".") if part not in ROOTS)


def _beside(names: Iterable[str], layers: Collection[str]) -> list[str]:
    """Of these names those that belong to one of the layers and are neither its weight nor its bias, sorted."""
    beside = []
    for name in names:
        parts = _own_name(name).split(".")
        ends = (end for end in range(1, len(parts)) if ".".join(parts[:end]) in layers)
        if (end := next(ends, None)) is not None and parts[end:] not in (["weight"], ["bias"]):
            beside.append(name)
    return sorted(beside)
