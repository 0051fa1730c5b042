"""What the contenders of a comparison cost: counted where that can be, timed in turns where not."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vtp_export.benchmarks.base import Example
from vtp_export.comparing.contenders import Contender
from vtp_export.costs.decoder import cache_bytes, prefill_flops, published_flops
from vtp_export.costs.front_end import FrontEndFlops, front_end_flops
from vtp_export.costs.peak import PeakMemory
from vtp_export.integrations.transformers import Answerer
from vtp_export.models.base import LoadedModel
from vtp_export.parity.asking import Prompt
from vtp_export.progress import Progress
from vtp_export.reports.costs import Cost
from vtp_export.runtime.images import as_image
from vtp_export.runtime.preprocess import pixel_values

TIMED = 8
"""Images that every method is timed on, one call of each in turn, after one that warms up."""


@dataclass(frozen=True, kw_only=True)
class _Pass:
    """One picture and the first question about it: seconds, tokens of text, visual tokens, most memory."""

    front_end: float
    prefill: float
    text: int
    visual: float
    peak: int | None


def costs_of(
    contenders: Sequence[Contender],
    examples: Sequence[Example],
    model: LoadedModel,
    answerer: Answerer,
    progress: Progress,
) -> tuple[Cost, ...]:
    """Of each contender, in order.

    Args:
        contenders: of one model.
        examples: the first `TIMED` with a question are read.
        model: see `contenders`.
        answerer: its language model.
        progress: hears of every picture.
    """
    asked = [example for example in examples if example.questions][: TIMED + 1]
    passes: list[list[_Pass]] = [[] for _ in contenders]
    for done, example in enumerate(asked):
        progress("timing", done, len(asked))
        for contender, own in zip(contenders, passes, strict=True):
            own.append(_pass(contender, example, model, answerer))
    pixels = pixel_values(as_image(asked[0].open(), asked[0].name), model.preprocessing)
    counted: dict[int, FrontEndFlops] = {}
    costs = []
    for contender, own in zip(contenders, passes, strict=True):
        if id(contender.session) not in counted:  # methods inside the language model share theirs
            counted[id(contender.session)] = front_end_flops(contender.session, pixels)
        costs.append(_cost(contender, counted[id(contender.session)], own[1:] or own, answerer))
    return tuple(costs)


def _pass(contender: Contender, example: Example, model: LoadedModel, answerer: Answerer) -> _Pass:
    photo = as_image(example.open(), example.name)
    pixels = pixel_values(photo, model.preprocessing)
    began = time.perf_counter()
    views = tuple(contender.session(pixels))
    front_end = time.perf_counter() - began
    picture = contender.packer.pack(views, photo.size, example.name)
    prompt = Prompt((picture,), example.questions[0].prompt, longest=1)
    with PeakMemory(contender.session.device) as peak:
        began = time.perf_counter()
        answerer.answer_each([prompt], within=contender.within)
        prefill = time.perf_counter() - began
    visual = len(picture.tokens)
    return _Pass(
        front_end=front_end,
        prefill=prefill,
        text=answerer.length(prompt) - visual,
        visual=visual if contender.within is None else contender.within.processed(visual, answerer.layers),
        peak=peak.bytes,
    )


def _cost(contender: Contender, flops: FrontEndFlops, passes: Sequence[_Pass], answerer: Answerer) -> Cost:
    """Every layer is counted with the mean number of tokens: linear work exactly, pairs of tokens nearly so."""
    shape, peaks = answerer.shape, [one.peak for one in passes if one.peak is not None]
    tokens = float(np.mean([one.text + one.visual for one in passes]))
    layers = [round(tokens)] * shape.layers
    spent = 1e3 * np.array([(one.front_end, one.prefill, one.front_end + one.prefill) for one in passes])
    front_end, prefill, first_token = np.median(spent, axis=0)
    return Cost(
        method=contender.name if contender.name == "none" else f"{contender.name} {contender.budget}",
        tokens=tokens,
        tower_flops=flops.tower,
        pruner_flops=flops.pruner,
        projector_flops=flops.projector,
        prefill_flops=prefill_flops(shape, layers),
        published_flops=published_flops(shape, layers),
        front_end_ms=float(front_end),
        prefill_ms=float(prefill),
        first_token_ms=float(first_token),
        cache_bytes=cache_bytes(shape, layers, answerer.itemsize),
        peak_bytes=max(peaks, default=None),
    )
