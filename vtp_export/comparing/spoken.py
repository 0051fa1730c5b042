"""Whether a language model says the same on this machine, of the golden pictures. Needs neither torch nor the model."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from vtp_export.arguments import path_of
from vtp_export.benchmarks.base import Decoded
from vtp_export.errors import ImageError, OutputError
from vtp_export.parity.gates import GATES
from vtp_export.parity.golden import read_golden
from vtp_export.reports.bench import SameAnswers
from vtp_export.runtime.front_end import PrunedArtefact
from vtp_export.runtime.images import as_image
from vtp_export.runtime.packing import Picture
from vtp_export.settings import usable_threads

QUESTIONS = ("Describe the image.", "What is in the image?", "How many things are there?", "Is there a person?")
"""Asked about every golden picture; what is right is not known and does not matter."""

LONGEST = 16
"""Most tokens of an answer."""


class Answers(Protocol):
    """A language model, see `integrations.greedy.GreedyAnswerer`."""

    def answer(self, picture: Picture, prompts: Sequence[str], longest: int) -> list[Decoded]:
        """Answer questions about one image."""
        ...


def same_answers(session: PrunedArtefact, answerer: Answers) -> SameAnswers:
    """Ask from the tokens that were recorded at the export, and from those that a format makes here.

    Args:
        session: the format, open.
        answerer: the language model.

    Raises:
        ArtefactError: there is no golden record.
        ModelError: the tokens are not what the language model reads.
    """
    artefact, packer = session.artefact, session.packer
    golden = read_golden(artefact)
    pictures = golden.record.pictures
    precision = artefact.manifest.precision.name
    share = 1.0 if precision == "fp32" else GATES[precision].answers  # of so few answers all are the same in float32
    same = asked = 0
    for file in dict.fromkeys(picture.file for picture in pictures):
        asked += len(QUESTIONS)
        views = tuple(golden.output[i] for i, picture in enumerate(pictures) if picture.file == file)
        try:
            photo = as_image(artefact.folder / file)
            made = packer.picture(photo, session.run_padded, artefact.manifest.batch.max, file)
        except (ImageError, OutputError):  # the check tells of it; nothing the same is said about that picture
            continue
        recorded = packer.pack(views, photo.size, file)
        pairs = zip(*(answerer.answer(one, QUESTIONS, LONGEST) for one in (recorded, made)), strict=True)
        same += sum(expected.ids == found.ids for expected, found in pairs)
    return SameAnswers(same=same, asked=asked, limit=share)


def opened_answerer(folder: str | Path | None, threads: int | None) -> Answers | None:
    """What `vtp-export decoder` wrote, in ONNX Runtime; None where nothing is named.

    Raises:
        SpecError: no path, or a number of threads that is none.
        UnavailableError, ModelError: it cannot be opened.
    """
    if folder is None:
        return None
    from vtp_export.integrations.onnxruntime import Answerer

    return Answerer(path_of("the decoder", folder), usable_threads(threads))
