"""`vtp-export bench --first-token`: from a picture to the first token of the answer, pruned and unpruned in turns."""

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vtp_export.arguments import one_or_several, whole
from vtp_export.comparing.contenders import FULL
from vtp_export.comparing.contenders import unpruned as whole_front_end
from vtp_export.comparing.places import MOST_ROUNDS, WARM_UP, chosen_formats, name_of, note_absent, opened
from vtp_export.costs.decoder import cache_bytes, prefill_flops
from vtp_export.errors import SpecError
from vtp_export.integrations.prefill import Prefill
from vtp_export.progress import Progress, silent
from vtp_export.reports.first_token import FirstToken, FirstTokenReport
from vtp_export.runtime.artefact import open_artefact
from vtp_export.runtime.formats import options_of
from vtp_export.runtime.hub import located
from vtp_export.runtime.images import note

TEXT = 40
"""Tokens of the prompt that are no picture: a chat template's and a question."""

SIZE = (640, 480)
"""Of the picture."""

Look = Callable[[], int]
"""A picture through a front end: how many tokens come out."""


def first_token(  # noqa: PLR0913 (keywords)
    folders: Sequence[str | Path],
    decoder: str,
    *,
    formats: Sequence[str] = (),
    rounds: int = 10,
    against: str | Path | None = None,
    device: str | None = None,
    dtype: str = "float32",
    threads: int | None = None,
    options: Mapping[str, Any] | None = None,
    progress: Progress = silent,
) -> FirstTokenReport:
    """Time each front end with the same language model behind it, one picture at a time.

    Args:
        folders: artefacts.
        decoder: a preset of `costs.decoder.PRESETS`, whose weights are random, or a model.
        formats: of every artefact; none for all that can run here.
        rounds: timed runs of each.
        against: a model whose eager, unpruned front end is timed beside them.
        device: of the artefacts, see `load`; the language model is where torch can follow: "cpu" or "cuda".
        dtype: of the language model and the eager front end.
        threads: CPU threads, or None for as many as the process may use.
        options: of the formats, see `load`.
        progress: hears of every step.

    Raises:
        VtpError: an artefact or the decoder cannot be opened, or a number is out of range.
    """
    folders = [located(folder) for folder in one_or_several(folders)]
    rounds = whole("rounds", rounds, 1, MOST_ROUNDS)
    chosen, absent = chosen_formats(folders, one_or_several(formats), device)
    note_absent(absent)
    own = options_of([fmt for _, fmt in chosen], options)
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (*SIZE[::-1], 3), dtype=np.uint8))
    on = "" if device in (None, "cpu") else f" on {device}"
    looks: dict[str, Look] = {}
    unpruned = None
    with contextlib.ExitStack() as stack:
        for place, session in opened(chosen, stack, own, progress, device=device, threads=threads):
            for sentence in session.notes:
                note(sentence)
            looks[name := name_of(place, on)] = _look(session.pictures, picture)
            if unpruned is None and session.manifest.pruner.name == FULL:
                unpruned = name
        if against is not None:
            progress(f"loading {against}")
            like = open_artefact(folders[0]).manifest if folders else None
            full = whole_front_end(str(against), like, device=device or "cpu", dtype=dtype, threads=threads)
            unpruned = f"{against} eager, unpruned{on}"
            looks[unpruned] = lambda: len(full.packer.picture(picture, full.session).tokens)
        if not looks:
            raise SpecError("no artefact was named; give at least one folder")
        progress(f"loading the language model, {decoder}")
        language = Prefill(decoder, device="cuda" if device == "cuda" else "cpu", dtype=dtype)
        rows = _rows(looks, unpruned, language, rounds, progress)
    return FirstTokenReport(decoder=f"{language.name}, {dtype}", text=TEXT, unpruned=unpruned, rows=rows)


def _look(pictures: Callable[[list[Image.Image]], Any], picture: Image.Image) -> Look:
    return lambda: sum(len(one.tokens) for one in pictures([picture]))


def _rows(
    looks: Mapping[str, Look], unpruned: str | None, language: Prefill, rounds: int, progress: Progress
) -> tuple[FirstToken, ...]:
    """One picture through each in turn, again and again."""
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in looks}
    tokens: dict[str, int] = {}
    for turn in range(WARM_UP + rounds):
        progress("timing", turn, WARM_UP + rounds)
        for name, look in looks.items():
            began = time.perf_counter()
            tokens[name] = look()
            between = time.perf_counter()
            language(TEXT + tokens[name])
            seconds[name].append((between - began, time.perf_counter() - between))
    medians = {}
    for name, pairs in seconds.items():
        spent = np.array(pairs[WARM_UP:]) * 1e3
        medians[name] = *np.median(spent, axis=0), np.median(spent.sum(1))
    rows = []
    for name, (front, prefill, total) in medians.items():
        layers = [TEXT + tokens[name]] * language.shape.layers
        rows.append(
            FirstToken(
                name=name,
                tokens=tokens[name],
                front_end_ms=float(front),
                prefill_ms=float(prefill),
                total_ms=float(total),
                ratio=None if unpruned is None else float(medians[unpruned][2] / total),
                prefill_flops=prefill_flops(language.shape, layers),
                cache_bytes=cache_bytes(language.shape, layers, language.itemsize),
            )
        )
    return tuple(rows)
