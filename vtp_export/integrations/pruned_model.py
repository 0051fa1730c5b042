"""A vision-language model whose front end is an artefact: what evaluation toolkits ask."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from vtp_export.errors import SpecError
from vtp_export.graphs.assembly import source_of
from vtp_export.integrations.prompts import TEMPLATE
from vtp_export.integrations.transformers import Answerer
from vtp_export.parity.asking import BATCH, Prompt
from vtp_export.runtime.any_grid import load, manifest_of
from vtp_export.runtime.images import ImageLike, as_image
from vtp_export.runtime.packing import Picture


@dataclass(frozen=True)
class Asked:
    """A question: pictures in the order in which they are shown, before the text; most tokens of the answer.

    ends: texts that end the answer, besides the model's end mark.
    """

    images: tuple[ImageLike, ...]
    text: str
    longest: int
    ends: tuple[str, ...] = ()


class PrunedModel:
    """An artefact, in any of its formats, and the language model of the checkpoint that it was exported from.

    Args:
        artefact: the folder.
        format: one of its formats, or None for the first that this machine can run.
        model: where the checkpoint is now, or None for where it was.
        device: where the artefact runs, or None for the format's usual.
        eager_device: where the language model computes: "cpu" or "cuda".
        dtype: what it computes with.
        form: how a prompt is worded, see `integrations.prompts.FORMS`.
        nearest_grid: as of `load`.

    Raises:
        VtpError: the artefact or the checkpoint cannot be used.
    """

    def __init__(  # noqa: PLR0913 (keywords)
        self,
        artefact: str | Path,
        format: str | None = None,
        *,
        model: str | Path | None = None,
        device: str | None = None,
        eager_device: str = "cpu",
        dtype: str = "float32",
        form: str = TEMPLATE,
        nearest_grid: bool = False,
    ) -> None:
        """See the class."""
        self._front = load(artefact, format, device=device, nearest_grid=nearest_grid)
        record = manifest_of(self._front).model
        name, revision = (record.id, record.revision) if model is None else (model, None)
        self._language = Answerer(source_of(name), revision, device=eager_device, dtype=dtype, form=form)
        self._seen: dict[bytes, Picture] = {}

    def answer(self, asked: Iterable[Asked], batch: int = BATCH) -> list[str]:
        """Greedy answers, in order.

        Args:
            asked: questions; a picture that several are about is encoded once.
            batch: so many are decoded together at most.

        Raises:
            SpecError: a question has no picture.
            ImageError: a picture cannot be used.
            ModelError: see `Answerer.answer_each`.
        """
        asked, before, self._seen = list(asked), self._seen, {}
        prompts = [Prompt(tuple(self._picture(one, before) for one in q.images), q.text, q.longest) for q in asked]
        decoded = self._language.answer_each(prompts, batch)
        return [ended(one.text, question.ends) for one, question in zip(decoded, asked, strict=True)]

    def _picture(self, image: ImageLike, before: dict[bytes, Picture]) -> Picture:
        photo = as_image(image, "the picture")
        key = hashlib.sha256(repr((photo.mode, photo.size)).encode() + photo.tobytes()).digest()
        if key not in self._seen:
            self._seen[key] = before[key] if key in before else next(iter(self._front.pictures(photo)))
        return self._seen[key]

    def close(self) -> None:
        """Close the artefact."""
        self._front.close()

    def __enter__(self) -> "PrunedModel":
        """Itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close."""
        self.close()


def ended(text: str, ends: Sequence[str]) -> str:
    r"""An answer up to the first text that ends it, as if it had been stopped there.

    Example:
        >>> ended("C\n\nBecause", ["\n\n", "USER:"])
        'C'
    """
    if not all(isinstance(end, str) and end for end in ends):
        raise SpecError(f"what ends an answer must be texts that are not empty, and is {list(ends)!r}")
    return text[: min((place for end in ends if (place := text.find(end)) >= 0), default=len(text))].strip()
