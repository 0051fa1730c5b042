"""A model on a stage: photos that are seen once, and what any pruner keeps of them at any budget."""

import base64
import hashlib
import io
import time
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import PIL.Image

from vtp_export import rooms
from vtp_export.arguments import whole
from vtp_export.benchmarks._lookup import benchmark_of
from vtp_export.benchmarks.base import Example
from vtp_export.comparing.contenders import FULL, Contender, Wanted, contenders_of, signals_of
from vtp_export.errors import ImageError, SpecError, VtpError
from vtp_export.functional.devices import prepare
from vtp_export.functional.tokens import Tokens
from vtp_export.graphs.assembly import load_model, source_of
from vtp_export.integrations.transformers import Answerer
from vtp_export.parity.asking import Prompt
from vtp_export.precision.lowering import loaded_in
from vtp_export.progress import Progress, silent
from vtp_export.reports.overlay import overlay_of_views
from vtp_export.runtime.images import as_image, note
from vtp_export.runtime.preprocess import pixel_values

MOST_PHOTOS = 8
"""That are remembered."""

SAMPLES = 12
PAIR = ("adaptive", "fastervlm")
"""What the two sides begin with."""


@dataclass(frozen=True)
class _Photo:
    """One photo, through the tower once: its signals, and the milliseconds that took."""

    image: PIL.Image.Image
    tokens: Tokens
    milliseconds: float


class Stage:
    """What the page shows: a model, and every pruner that it can have.

    Args:
        model: folder, hub id or embedded name.
        device: "cpu" or "cuda".
        dtype: what tower and language model compute with.
        threads: CPU threads, or None.
        progress: hears of the loading.

    Raises:
        VtpError: the model cannot be loaded.
    """

    def __init__(
        self,
        model: str,
        *,
        device: str = "cpu",
        dtype: str = "float32",
        threads: int | None = None,
        progress: Progress = silent,
    ) -> None:
        prepare(device, threads)
        progress(f"loading {model}")
        wanted = [Wanted(name, name, {}) for name in rooms.names("pruners")]
        self._model = loaded_in(load_model(model, signals_of(wanted)), dtype)
        self._model.module.to(device)
        self._contender = lru_cache(maxsize=64)(self._assembled)
        self.tokens = self._contender(FULL).budget
        self.pruners = [name for name in rooms.names("pruners") if name != FULL and self._can(name)]
        progress("loading the language model")
        self._answerer: Answerer | None = None
        try:
            self._answerer = Answerer(source_of(model), self._model.core.revision, device=device, dtype=dtype)
        except VtpError as error:  # a bare tower: what is kept can be seen all the same
            note(f"no answers: {error}")
        self._photos: OrderedDict[str, _Photo] = OrderedDict()
        self._samples = _samples(model)

    def about(self) -> dict[str, Any]:
        """What the page begins with."""
        return {
            "model": self._model.core.id,
            "tokens": self.tokens,
            "pruners": self.pruners,
            "pair": [name if name in self.pruners else self.pruners[0] for name in PAIR],
            "answers": self._answerer is not None,
            "samples": [
                {"number": i, "question": example.questions[0].prompt if example.questions else ""}
                for i, example in enumerate(self._samples)
            ],
        }

    def sample(self, number: int) -> str:
        """One of the pictures that are there, by its number; returns its id.

        Raises:
            SpecError: no such picture.
        """
        if not 0 <= number < len(self._samples):
            raise SpecError(f"there are {len(self._samples)} samples; number {number} is none of them")
        return self._kept(self._samples[number].open(), f"sample {number}")

    def photo(self, content: bytes) -> str:
        """A photo in a file's bytes; returns its id.

        Raises:
            ImageError: Pillow cannot read it.
        """
        try:
            image = PIL.Image.open(io.BytesIO(content))
        except (OSError, ValueError, SyntaxError, PIL.Image.DecompressionBombError) as error:
            raise ImageError("this file is not an image that Pillow can read; drop a JPEG or a PNG") from error
        return self._kept(image, "the photo")

    def prune(self, photo: str, pruner: str, keep: int, question: str) -> dict[str, Any]:
        """What one method keeps of a photo, and what the language model then says.

        Args:
            photo: an id.
            pruner: a method; `none` keeps all.
            keep: visual tokens.
            question: what is asked; nothing asks nothing.

        Raises:
            SpecError: no such photo, method or budget.
        """
        if photo not in self._photos:
            raise SpecError("that photo is not here any more; drop it again")
        if pruner not in [*self.pruners, FULL]:
            raise SpecError(f"'{pruner}' is no pruner of this model; there are {', '.join(self.pruners)}")
        whole("keep", keep, 1, self.tokens)
        seen, contender = self._photos[photo], self._contender(pruner, None if pruner == FULL else keep)
        began = time.perf_counter()
        views = tuple(contender.session.finish(seen.tokens))
        pruned = time.perf_counter()
        picture = contender.packer.pack(views, seen.image.size, "the photo")
        answer, spent = "", None
        if question.strip() and self._answerer is not None:
            asked = time.perf_counter()
            answer = self._answerer.answer_each([Prompt((picture,), question.strip())])[0].text
            spent = 1e3 * (time.perf_counter() - asked)
        layout, preprocessing = contender.packer.layout, self._model.preprocessing
        lit = overlay_of_views(seen.image, picture.kept_by_view, layout, preprocessing)
        return {
            "image": _data_uri(lit),
            "kept": len(picture.tokens),
            "positions": [view.tolist() for view in picture.kept_by_view],
            "answer": answer,
            "tower_ms": seen.milliseconds,
            "prune_ms": 1e3 * (pruned - began),
            "answer_ms": spent,
        }

    def _assembled(self, pruner: str, keep: int | None = None) -> Contender:
        """`keep` is nothing to the one that keeps all."""
        return contenders_of(self._model, [Wanted(pruner, pruner, {} if keep is None else {"keep": keep})], None)[0]

    def _can(self, pruner: str) -> bool:
        try:
            self._contender(pruner, max(1, self.tokens // 4))
        except VtpError as error:
            note(f"{pruner} is left out: {error}")
            return False
        return True

    def _kept(self, image: PIL.Image.Image, name: str) -> str:
        """Run it through the tower, and remember the last few."""
        upright = as_image(image, name)
        digest = hashlib.sha256(upright.tobytes() + repr(upright.size).encode()).hexdigest()[:16]
        if digest not in self._photos:
            pixels = pixel_values(upright, self._model.preprocessing)
            needs = frozenset().union(
                *(
                    self._contender(one, max(1, self.tokens // 4)).session.graph.pruner.method.needs
                    for one in self.pruners
                )
            )
            began = time.perf_counter()
            tokens = self._contender(FULL).session.encode(pixels, needs)
            self._photos[digest] = _Photo(upright, tokens, 1e3 * (time.perf_counter() - began))
        self._photos.move_to_end(digest)
        while len(self._photos) > MOST_PHOTOS:
            self._photos.popitem(last=False)
        return digest


def _samples(model: str) -> list[Example]:
    """Scenes with questions for the embedded model, which was trained on such; photographs for others."""
    names = ["shapes"] if model == "tiny-llava" else ["photos", "shapes"]
    data = next(one for one in map(benchmark_of, names) if one.missing() is None)
    return data.spread(SAMPLES)[0]


def _data_uri(picture: PIL.Image.Image) -> str:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=88)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
