"""CHAIR: how many objects in a description of a COCO photograph are not there; share of descriptions that invent none.

C_S: descriptions with an invented object; C_I: mentions of invented objects among all mentions of any; recall: of the
objects that are there; length in words. The truth is a list in the row (`gt_objects`, or `gt_object` on the hub), or
COCO's own: the files instances_*.json and captions_*.json in the folder. With these and no list of rows, all pictures
of the folder are described. Published figures are of 500 pictures of val2014, and not always the same ones.

Source: Rohrbach et al., "Object Hallucination in Image Captioning" (EMNLP 2018).
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from vtp_export.benchmarks import base
from vtp_export.benchmarks._coco_truth import annotated, annotation_files
from vtp_export.benchmarks._coco_words import CLASSES, mentioned, words_of
from vtp_export.benchmarks._metrics import Caption, chair
from vtp_export.benchmarks._published import Asked, Published, Source, asked_of, text
from vtp_export.benchmarks._tables import Row
from vtp_export.errors import SpecError
from vtp_export.runtime.images import read_image

PROMPT = "Please describe this image in detail."


class Benchmark(Published):
    """One description a picture."""

    source = Source(
        hub="tsunghanwu/mscoco_chair",
        split="test",
        columns=("question_id", "image_id", "gt_object", "gt_objects"),
    )
    longest = 512

    def missing(self) -> str | None:
        """COCO's own files will do."""
        here = self.folder.is_dir() and annotation_files(self.folder)
        missing = None if here else super().missing()
        return missing and f"{missing}; COCO's instances_*.json and captions_*.json with its pictures will do as well"

    def rows(self) -> Iterator[Row]:
        """The rows with their truth, or the pictures of COCO that are in the folder."""
        truth = annotated(self.folder) if self.folder.is_dir() else {}
        if truth and not self._files(None):
            paths = {path.name: path for path in self.folder.rglob("*") if path.suffix in (".jpg", ".png")}
            for number, one in truth.items():
                if path := paths.get(one.file):
                    cells = {"image_id": number, "gt_objects": sorted(one.classes)}
                    yield Row(f"'{path}'", cells, partial(read_image, path))
            return
        for row in super().rows():
            known = truth.get(str(row.cells.get("image_id", row.cells.get("question_id"))))
            cells = dict(row.cells)
            if known and cells.get("gt_objects") is None and cells.get("gt_object") is None:
                cells["gt_objects"] = sorted(known.classes)
            yield dataclasses.replace(row, cells=cells)

    def picture(self, cells: Mapping[str, Any]) -> str:
        """COCO's number of it."""
        return text(cells, "question_id" if cells.get("image_id") is None else "image_id")

    def question(self, cells: Mapping[str, Any]) -> Asked:
        """What is always asked, and what is there."""
        objects = cells.get("gt_object") if cells.get("gt_objects") is None else cells["gt_objects"]
        if not isinstance(objects, list) or not all(isinstance(one, str) and one in CLASSES for one in objects):
            raise SpecError("gt_objects must be a list of COCO's classes, or its annotations must be in the folder")
        there = tuple(sorted({CLASSES[one] for one in objects}))
        return Asked(kind="caption", prompt=PROMPT, answer=", ".join(there), references=there)

    def credit(self, answered: base.Answered) -> float:
        """Whether nothing is invented."""
        return float(_caption(answered).invented == 0)

    def score(self, asked: Sequence[base.Answered]) -> dict[str, float]:
        """The share of descriptions that invent nothing, which is 1 - C_S, then CHAIR itself."""
        scores = chair([_caption(answered) for answered in asked])
        return {"faithful": 1 - scores["C_S"], **scores}


def _caption(answered: base.Answered) -> Caption:
    words = words_of(answered.text)
    return Caption(mentioned(words), frozenset(asked_of(answered).references), len(words))
