"""`vtp-export bench --first-token`: from a picture to the first token of the answer, pruned and unpruned in turns."""

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vtp_export.arguments import one_or_several, whole
from vtp_export.comparing.places import chosen_formats, name_of
from vtp_export.costs.decoder import cache_bytes, prefill_flops
from vtp_export.errors import SpecError
from vtp_export.integrations.prefill import Prefill
from vtp_export.progress import Progress, silent
from vtp_export.reports.first_token import FirstToken, FirstTokenReport
from vtp_export.runtime.artefact import open_artefact
from vtp_export.runtime.formats import options_of
from vtp_export.runtime.front_end import load
from vtp_export.runtime.hub import located
from vtp_export.runtime.images import note

TEXT = 40
"""Tokens of the prompt that are no picture: a chat template's and a question."""

WARM_UP = 2
"""Runs before those that are timed."""

MOST_ROUNDS = 1_000_000

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
    for (folder, fmt), reason in absent.items():
        note(f"{folder}: {fmt} is left out: {reason}")
    own = options_of([fmt for _, fmt in chosen], options)
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (*SIZE[::-1], 3), dtype=np.uint8))
    on = "" if device in (None, "cpu") else f" on {device}"
    looks: dict[str, Look] = {}
    unpruned = None
    with contextlib.ExitStack() as stack:
        for folder, fmt in chosen:
            progress(f"opening {folder} ({fmt})")
            session = stack.enter_context(load(folder, fmt, device=device, threads=threads, options=own[fmt]))
            looks[name := name_of((folder, fmt), on)] = _look(session.pictures, picture)
            if unpruned is None and open_artefact(folder).manifest.pruner.name == "none":
                unpruned = name
        if against is not None:
            progress(f"loading {against}")
            unpruned = f"{against} eager, unpruned{on}"
            looks[unpruned] = _eager(str(against), device or "cpu", dtype, threads, picture)
        if not looks:
            raise SpecError("no artefact was named; give at least one folder")
        progress(f"loading the language model, {decoder}")
        language = Prefill(decoder, device="cuda" if device == "cuda" else "cpu", dtype=dtype)
        rows = _rows(looks, unpruned, language, rounds, progress)
    return FirstTokenReport(decoder=f"{language.name}, {dtype}", text=TEXT, unpruned=unpruned, rows=rows)


def _look(pictures: Callable[[list[Image.Image]], Any], picture: Image.Image) -> Look:
    return lambda: sum(len(one.tokens) for one in pictures([picture]))


def _eager(model: str, device: str, dtype: str, threads: int | None, picture: Image.Image) -> Look:
    from vtp_export.functional.devices import prepare
    from vtp_export.graphs.assembly import assemble, load_model
    from vtp_export.graphs.eager import EagerSession
    from vtp_export.graphs.packing import packed, packer_for
    from vtp_export.precision.lowering import loaded_in

    prepare(device, threads)
    loaded = loaded_in(load_model(model), dtype)
    assembly = assemble(loaded, "none", {})
    session, packer = EagerSession(assembly.graph, device), packer_for(loaded, assembly.layout, packed(loaded, {})[1])
    return lambda: len(packer.picture(picture, session).tokens)


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
