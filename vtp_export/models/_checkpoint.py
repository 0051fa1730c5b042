"""The files of a Hugging Face checkpoint, a local folder or a hub id, and which of them says what.

Where several files could say the same, the one counts that Transformers reads.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from vtp_export.errors import ModelError, SpecError, shown
from vtp_export.json_records import MAX_BYTES, read_json

CONFIG = "config.json"
PROCESSOR, IMAGE_PROCESSOR = "processor_config.json", "preprocessor_config.json"
ADAPTER = "adapter_config.json"


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A checkpoint whose files are fetched one by one.

    id: what the user named.
    revision: commit on the hub, or None for a local folder.
    fetch: file name to its local path, or None when the checkpoint has no such file.
    folder: where it lies, or None for the hub.
    unasked: files that the cache does not have while the hub cannot be asked; taken for absent.
    """

    id: str
    revision: str | None
    fetch: Callable[[str], Path | None] = field(repr=False)
    folder: Path | None = None
    unasked: set[str] = field(default_factory=set)

    def json(self, name: str, limit: int = MAX_BYTES) -> dict[str, Any] | None:
        """A JSON file of the checkpoint, or None when it has none.

        Args:
            name: of the file.
            limit: its most bytes.

        Raises:
            ModelError: there but not a JSON object, or beyond the bounds of `json_records`.
        """
        path = self.fetch(name)
        if path is None:
            return None
        try:
            value = read_json(path, f"{name} of '{self.id}'", limit)
        except SpecError as error:
            raise ModelError(str(error)) from error
        if not isinstance(value, dict):
            raise ModelError(f"{name} of '{self.id}' is not a JSON object")
        return value

    @cached_property
    def config(self) -> dict[str, Any]:
        """`config.json`.

        Raises:
            ModelError: there is none, or it is that of the original LLaVA or InternVL code.
        """
        config = self.json(CONFIG)
        if config is None:
            if self.fetch(ADAPTER) is not None:
                raise ModelError(f"'{self.id}' is an adapter (LoRA) and no whole model; {MERGE}")
            raise ModelError(f"'{self.id}' has no config.json; a Hugging Face model folder or hub id is needed")
        if config.get("model_type") == "internvl_chat":
            raise ModelError(
                f"'{self.id}' has the layout of the original InternVL code (internvl_chat); name the checkpoint that "
                "was converted for Transformers, as OpenGVLab/InternVL3-1B-hf"
            )
        if "vision_config" not in config and any(key.startswith("mm_") for key in config):
            raise ModelError(original_layout(self.id))
        return config

    def section(self, name: str) -> dict[str, Any] | None:
        """An object inside `config.json`, or None when it has none.

        Raises:
            ModelError: there but not an object.
        """
        value = self.config.get(name)
        if value is not None and not isinstance(value, dict):
            raise ModelError(f"{name} in the config.json of '{self.id}' is {shown(value)}; an object is needed")
        return value

    def image_processor(self) -> tuple[dict[str, Any], str] | None:
        """Settings of the image processor, and the file that they stand in; None when there are none.

        Raises:
            ModelError: there but not a JSON object.
        """
        nested = (self.json(PROCESSOR) or {}).get("image_processor")
        if nested is not None:
            if not isinstance(nested, dict):
                raise ModelError(
                    f"image_processor in {PROCESSOR} of '{self.id}' is {shown(nested)}; an object is needed"
                )
            return nested, PROCESSOR
        settings = self.json(IMAGE_PROCESSOR)
        return None if settings is None else (settings, IMAGE_PROCESSOR)


MERGE = "merge it into its base model first (merge_and_unload, then save_pretrained)"


def original_layout(model_id: str) -> str:
    """What to say of a checkpoint that the original LLaVA code wrote."""
    return (
        f"'{model_id}' has the layout of the original LLaVA code (mm_projector, and a vision tower of its own "
        "repository); name the checkpoint that was converted for Transformers, as llava-hf/llava-1.5-7b-hf"
    )


def folder_checkpoint(folder: Path, name: str | None = None) -> Checkpoint:
    """A checkpoint on disk.

    Args:
        folder: where.
        name: what the user calls it; None for its path.
    """

    def fetch(name: str) -> Path | None:
        path = folder / name
        try:
            return path if path.is_file() else None
        except OSError as error:
            raise ModelError(f"{shown(name)} of '{folder}' cannot be read: {error.strerror or error}") from error

    return Checkpoint(id=name or str(folder), revision=None, fetch=fetch, folder=folder)
