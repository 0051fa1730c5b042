"""What is in COCO's pictures, by its own annotations: objects that were outlined, and those that people mention."""

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vtp_export.benchmarks._coco_words import CLASSES, mentioned, words_of
from vtp_export.errors import SpecError
from vtp_export.json_records import read_json

INSTANCES, CAPTIONS = "instances_*.json", "captions_*.json"
MAX_BYTES = 1 << 30
"""Of a file of annotations: the largest has half of this."""

KEYS = {
    INSTANCES: frozenset(("images", "annotations", "categories", "id", "file_name", "name", "image_id", "category_id")),
    CAPTIONS: frozenset(("annotations", "image_id", "caption")),
}
"""What is read of each: outlines are most of a file, and are dropped while it is read."""


@dataclass
class Annotated:
    """A picture: the name of its file, and the classes that are in it."""

    file: str = ""
    classes: set[str] = field(default_factory=set)


def annotation_files(folder: Path) -> list[Path]:
    """The files of annotations in a folder, at any depth: of objects, then of captions.

    None where either is missing, since both make the truth.
    """
    objects, captions = (sorted(path for path in folder.rglob(kind) if path.is_file()) for kind in KEYS)
    return [*objects, *captions] if objects and captions else []


def annotated(folder: Path) -> dict[str, Annotated]:
    """The pictures that a folder's annotations tell of, by their ids.

    Raises:
        SpecError: a file cannot be read, or is none of COCO's.
    """
    pictures: dict[str, Annotated] = defaultdict(Annotated)
    for path in annotation_files(folder):
        kind = INSTANCES if path.match(INSTANCES) else CAPTIONS
        table = read_json(path, f"'{path}'", MAX_BYTES, KEYS[kind])
        try:
            (_outlined if kind == INSTANCES else _captioned)(table, pictures)
        except (KeyError, TypeError, AttributeError) as error:
            raise SpecError(f"'{path}' is no file of COCO's annotations: {type(error).__name__} {error}") from error
    return pictures


def _outlined(table: Any, pictures: dict[str, Annotated]) -> None:
    names = {category["id"]: CLASSES[category["name"]] for category in table["categories"]}
    for image in table["images"]:
        pictures[str(image["id"])].file = Path(image["file_name"]).name
    for annotation in table["annotations"]:
        pictures[str(annotation["image_id"])].classes.add(names[annotation["category_id"]])


def _captioned(table: Any, pictures: dict[str, Annotated]) -> None:
    for annotation in table["annotations"]:
        pictures[str(annotation["image_id"])].classes.update(mentioned(words_of(annotation["caption"])))
