"""Every question with what each method answered, as JSON lines: what joins two runs."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from vtp_export.benchmarks.base import Answered, Benchmark
from vtp_export.errors import ArtefactError
from vtp_export.runtime.writing import atomically, sentence

FILE = "answers.jsonl"


def answer_lines(name: str, benchmark: Benchmark, asked: Mapping[str, Sequence[Answered]]) -> Iterator[dict[str, Any]]:
    """One record a question.

    Args:
        name: of the benchmark.
        benchmark: gives the credit.
        asked: of each method, the same questions in the same order.

    Yields:
        `id`, which is the same in every run: benchmark, image, and the number of the question about it; its words; what
        was right; and of every method the answer and its credit, from 0 to 1.
    """
    seen: dict[str, int] = {}
    for answers in zip(*asked.values(), strict=True):
        image, question = answers[0].image, answers[0].question
        seen[image] = seen.get(image, -1) + 1
        yield {
            "id": f"{name}/{image}#{seen[image]}",
            "benchmark": name,
            "image": image,
            "kind": question.kind,
            "prompt": question.prompt,
            "references": list(getattr(question, "references", ()) or (question.answer,)),
            "options": list(getattr(question, "options", ())),
            "answers": {method: one.text for method, one in zip(asked, answers, strict=True)},
            "credit": {method: benchmark.credit(one) for method, one in zip(asked, answers, strict=True)},
        }


def write_answers(folder: Path, lines: Iterable[Mapping[str, Any]]) -> Path:
    """Write `folder/answers.jsonl`, at once or not at all.

    Raises:
        ArtefactError: it cannot be written.
    """
    path = folder / FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with atomically(path) as file:
            for line in lines:
                file.write(f"{json.dumps(line, ensure_ascii=False)}\n".encode())
    except OSError as error:
        raise ArtefactError(sentence(error, folder)) from error
    return path
