"""GQA, balanced test-dev: compositional questions about photographs; exact match.

As in LLaVA's evaluation: points at the end are cut off, case does not matter, all else must be equal.

Source: Hudson and Manning, "GQA: A New Dataset for Real-World Visual Reasoning" (CVPR 2019).
"""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from vtp_export.benchmarks import base
from vtp_export.benchmarks._published import WORD, Asked, Published, Source, text
from vtp_export.benchmarks._tables import Row


class Benchmark(Published):
    """12,578 questions about 398 pictures, with public answers."""

    source = Source(
        hub="lmms-lab-encoder/GQA",
        config="testdev_balanced_instructions",
        pictures="testdev_balanced_images",
        split="testdev",
        columns=("id", "imageId", "question", "answer"),
    )

    def rows(self) -> Iterator[Row]:
        """The questions, with the pictures of the other table."""
        pictures = {str(row.cells.get("id")): row.open for row in self.table(self.source.pictures)}
        for row in self.table(self.source.config):
            yield dataclasses.replace(row, open=pictures.get(str(row.cells.get("imageId")), row.open))

    def picture(self, cells: Mapping[str, Any]) -> str:
        """The picture is asked about several times."""
        return text(cells, "imageId")

    def question(self, cells: Mapping[str, Any]) -> Asked:
        """The question."""
        return Asked(kind="question", prompt=text(cells, "question") + WORD, answer=text(cells, "answer"))

    def credit(self, answered: base.Answered) -> float:
        """Exact match."""
        return float(answered.text.strip().rstrip(".").lower() == answered.question.answer.lower())
