"""A model of lmms-eval that runs an artefact inside its tasks: `--model vtp_export --model_args artefact=DIR`.

lmms-eval finds it by the entry point of this package, wherever both are installed. What it answers is what the same
artefact and the same language model answer in `validate --answers`: greedy decoding, the prompt in the checkpoint's own
template with all pictures before the text.

Source: lmms-eval 0.7.3, `lmms_eval/models/registry_v2.py` and `lmms_eval/api/model.py`.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from vtp_export.errors import SpecError, UnavailableError, shown
from vtp_export.integrations.prompts import TEMPLATE
from vtp_export.integrations.pruned_model import Asked, PrunedModel
from vtp_export.runtime.images import batched, note

try:
    from lmms_eval.api.model import lmms as Base
except ImportError:  # it can be read without; only lmms-eval has a use for it
    Base = object

LONGEST = 1024
"""Tokens of an answer where a task names no `max_new_tokens`, as lmms-eval's own LLaVA has it."""

OPTIONS = ("format", "model", "device", "artefact_device", "dtype", "form", "nearest_grid")

KNOWN = frozenset(("max_new_tokens", "until", "do_sample", "temperature", "top_p", "top_k", "num_beams"))
"""Of `generation_kwargs`: the others change nothing here, and a note says so."""


def manifest() -> Any:
    """What lmms-eval's registry asks the entry point for."""
    from lmms_eval.models.registry_v2 import ModelManifest

    return ModelManifest(model_id="vtp_export", simple_class_path=f"{__name__}.Model")


class Model(Base):  # type: ignore[misc] # what it inherits from is known where lmms-eval is
    """See the module.

    Args:
        artefact: the folder.
        format: one of its formats; the first that this machine can run where none is named.
        model: where the checkpoint is now.
        device: where the language model computes, "cpu" or "cuda"; lmms-eval's `--device`.
        artefact_device: where the artefact runs, as `run --device`.
        dtype: what the language model computes with.
        form: "template", or "vicuna_v1" for the words of LLaVA's own evaluation.
        nearest_grid: stretch pictures to the nearest grid of the artefact, which are refused otherwise.
        batch_size: questions that are decoded together at most.
        max_batch_size: lmms-eval's, of no use here.
        unknown: refused.

    Raises:
        SpecError: an argument is unknown, or wrong.
        VtpError: the artefact or the checkpoint cannot be used.
    """

    is_simple = True

    def __init__(  # noqa: PLR0913 (the keywords of --model_args)
        self,
        artefact: str | None = None,
        format: str | None = None,
        *,
        model: str | None = None,
        device: str | None = None,
        artefact_device: str | None = None,
        dtype: str = "float32",
        form: str = TEMPLATE,
        nearest_grid: bool = False,
        batch_size: int | str = 1,
        max_batch_size: int | None = None,
        **unknown: Any,
    ) -> None:
        """See the class."""
        super().__init__()
        if artefact is None or unknown:
            wrong = f"has {', '.join(unknown)}" if unknown else "names no artefact"
            raise SpecError(f"--model_args {wrong}; it takes artefact=DIR and, if you like, {', '.join(OPTIONS)}")
        self.batch_size = _batch(batch_size)
        if os.environ.get("WORLD_SIZE", "1") != "1":
            raise SpecError("one process runs an artefact: start lmms-eval without a launcher of several")
        self._model = PrunedModel(
            str(artefact),  # lmms-eval makes a number of "64"
            format,
            model=model,
            device=artefact_device,
            eager_device=(device or "cpu").removesuffix(":0"),
            dtype=dtype,
            form=form,
            nearest_grid=nearest_grid,
        )

    def generate_until(self, requests: Sequence[Any]) -> list[str]:
        """One answer to each request, in order.

        Raises:
            SpecError: a task samples, or asks with several beams; a question has no picture, or a video.
            ModelError, ImageError: as `PrunedModel.answer`.
        """
        return [answer for few in batched(self._asked(requests), self.batch_size) for answer in self._answered(few)]

    def _answered(self, asked: Sequence[Asked]) -> list[str]:
        return self._model.answer(asked, self.batch_size)

    def _asked(self, requests: Sequence[Any]) -> Iterator[Asked]:
        told: set[str] = set()
        for request in requests:
            text, wanted, visuals, number, task, split = request.args
            if unknown := sorted(set(wanted) - KNOWN - told):
                told.update(unknown)
                note(f"generation_kwargs of '{task}' that change nothing here: {', '.join(unknown)}")
            images = visuals(self.task_dict[task][split][number]) or []
            if not images or any(isinstance(one, str) for one in images):
                has = "a video" if images else "no picture"
                raise SpecError(f"question {number} of '{task}' has {has}; an artefact reads pictures")
            yield Asked(tuple(images), text, _longest(wanted), _ends(wanted))

    def loglikelihood(self, requests: Sequence[Any]) -> Any:
        """Is not there: answers are written, and not scored."""
        raise UnavailableError("tasks of output_type loglikelihood cannot be run: an artefact's model writes answers")

    def generate_until_multi_round(self, requests: Sequence[Any]) -> Any:
        """Is not there: a question is asked once."""
        raise UnavailableError("tasks of several rounds cannot be run: an artefact's model answers one question")

    def clean(self) -> None:
        """lmms-eval is done."""
        self._model.close()


def _longest(wanted: Mapping[str, Any]) -> int:
    """Most tokens of the answer, after what cannot be done was refused."""
    beams = wanted.get("num_beams", 1)
    if wanted.get("do_sample") or beams not in (1, None):
        raise SpecError(
            f"decoding is greedy, and the task asks for do_sample={wanted.get('do_sample')}, num_beams={beams}; "
            "change them with --gen_kwargs do_sample=False,num_beams=1"
        )
    longest = wanted.get("max_new_tokens", LONGEST)
    if not isinstance(longest, int) or longest < 1:
        raise SpecError(f"max_new_tokens is {shown(longest)}; a whole number from 1 was expected")
    return longest


def _ends(wanted: Mapping[str, Any]) -> tuple[str, ...]:
    ends = wanted.get("until") or ()
    return (ends,) if isinstance(ends, str) else tuple(ends)


def _batch(size: int | str) -> int:
    text = str(size)
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise SpecError(f"batch_size is {shown(size)}; a whole number from 1 was expected")
    return int(text)
