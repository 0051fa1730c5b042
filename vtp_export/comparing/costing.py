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

PATIENCE = 60.0
"""Seconds after which no further image is timed."""


@dataclass(frozen=True, kw_only=True)
class _Pass:
    """One picture and the first question about it: seconds, tokens that each layer reads, most memory."""

    front_end: float
    prefill: float
    layers: list[int]
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

    Raises:
        SpecError: the language model's sizes are not known.
    """
    asked = [example for example in examples if example.questions][: TIMED + 1]
    passes: list[list[_Pass]] = [[] for _ in contenders]
    began = time.perf_counter()
    for done, example in enumerate(asked):
        if done > 1 and time.perf_counter() - began > PATIENCE:
            break
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
    text, layers = answerer.length(prompt) - visual, [visual] * answerer.layers
    if contender.within is not None:
        within = contender.within.of_views(visual, picture.views[0].num_kept)
        layers = within.layer_tokens(visual, answerer.layers)
    return _Pass(front_end=front_end, prefill=prefill, layers=[text + n for n in layers], peak=peak.bytes)


def _cost(contender: Contender, flops: FrontEndFlops, passes: Sequence[_Pass], answerer: Answerer) -> Cost:
    shape, peaks = answerer.shape, [one.peak for one in passes if one.peak is not None]
    spent = 1e3 * np.array([(one.front_end, one.prefill, one.front_end + one.prefill) for one in passes])
    front_end, prefill, first_token = np.median(spent, axis=0)
    return Cost(
        method=contender.label,
        tokens=float(np.mean([one.layers for one in passes])),
        tower_flops=flops.tower,
        pruner_flops=flops.pruner,
        projector_flops=flops.projector,
        prefill_flops=round(np.mean([prefill_flops(shape, one.layers) for one in passes])),
        published_flops=round(np.mean([published_flops(shape, one.layers) for one in passes])),
        front_end_ms=float(front_end),
        prefill_ms=float(prefill),
        first_token_ms=float(first_token),
        cache_bytes=round(np.mean([cache_bytes(shape, one.layers, answerer.itemsize) for one in passes])),
        peak_bytes=max(peaks, default=None),
    )
