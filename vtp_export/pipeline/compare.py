"""`vtp-export compare`: methods and budgets side by side on one benchmark, by what the language model then answers."""

import contextlib
import dataclasses
import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vtp_export.arguments import by_name, one_or_several
from vtp_export.benchmarks._lookup import benchmark_of
from vtp_export.benchmarks.base import Example
from vtp_export.calibration.journal import Journal
from vtp_export.comparing.contenders import Contender, contenders_of, signals_of, wanted_of
from vtp_export.errors import ArtefactError, SpecError, UnavailableError
from vtp_export.functional.devices import prepare
from vtp_export.functional.tokens import Tokens
from vtp_export.graphs.assembly import load_model, source_of
from vtp_export.graphs.complexity import complexities, entropy_among
from vtp_export.integrations.transformers import Answerer
from vtp_export.json_records import as_unicode
from vtp_export.models._sizes import asked_size
from vtp_export.models.base import LoadedModel
from vtp_export.parity.asking import LanguageModel, ask, refuse_silent
from vtp_export.precision.lowering import loaded_in
from vtp_export.progress import Progress, silent
from vtp_export.reference.erank import effective_rank
from vtp_export.reports.comparison import CompareReport, write_comparison
from vtp_export.reports.page import report_folder
from vtp_export.reports.tally import Entry, Outcome, Seen, compared
from vtp_export.runtime.images import as_image, note
from vtp_export.runtime.output import naming
from vtp_export.runtime.preprocess import pixel_values
from vtp_export.runtime.resolution import stretching
from vtp_export.runtime.tiles import view_names

TIMED = 8
"""Images that every method is timed on, one call of each in turn."""


JOURNAL = "comparison"
"""What is done so far is `.comparison.partial` in the report's folder."""


def compare(
    model: str | Path,
    keep: int | str | Sequence[int | str],
    *,
    benchmark: str | Path = "shapes",
    pruners: Sequence[str] = ("fastervlm", "adaptive"),
    settings: Mapping[str, Any] | None = None,
    limit: int | None = None,
    calibration: str | Path | None = None,
    revision: str | None = None,
    grid: str | tuple[int, int] | None = None,
    image_size: str | tuple[int, int] | None = None,
    max_tokens: int | None = None,
    at_least: float | None = None,
    report: str | Path | None = None,
    resume: bool = False,
    device: str = "cpu",
    dtype: str = "float32",
    threads: int | None = None,
    progress: Progress = silent,
) -> CompareReport:
    """Run every method, with every combination of settings, at every budget on every image.

    Args:
        model: folder, hub id or embedded name.
        keep: one budget of visual tokens, or several; a text such as "10%" is a share of them.
        benchmark: one with questions.
        pruners: methods, of the front end or inside the language model; `none` is always there.
        settings: by name, a value or a list of those to try; each is for the pruners that have it.
        limit: number of images, or None for all.
        calibration: see `export`.
        revision: commit, branch or tag on the hub.
        grid: of a model of any resolution, what it is measured at: rows and columns of tokens, see `export`.
        image_size: the same by pictures.
        max_tokens: of such a model, most tokens of a picture.
        at_least: share of the unpruned score that every method must keep, 0 to 1; None asks nothing.
        report: folder of a page with figures, or None.
        resume: go on where an earlier run into the same report was interrupted.
        device: where torch runs all of it: "cpu" or "cuda".
        dtype: what the tower, the projector and the language model compute with; selection is float32 at least.
        threads: CPU threads, or None for torch's choice.
        progress: hears of every step.

    Raises:
        VtpError: the model, a method or the benchmark cannot be used.
    """
    keeps, size = one_or_several(keep), asked_size(grid, image_size, max_tokens)
    if at_least is not None and not 0 <= at_least <= 1:
        raise SpecError(f"the least share of the unpruned score is {at_least:g}; it must be 0 to 1 (100%)")
    if not keeps:
        raise SpecError("no budget was named; give at least one --keep")
    if resume and report is None:
        raise SpecError("what was done is kept in the report's folder; name it with --report to --resume")
    if report is not None:
        report_folder(report)
    wanted = wanted_of(one_or_several(pruners), by_name("settings", settings), keeps)
    prepare(device, threads)
    data = benchmark_of(benchmark)
    examples = list(data.examples(limit))
    refuse_silent(examples)
    progress("loading the model")
    loaded = loaded_in(load_model(model, signals_of(wanted), revision, size), dtype)
    loaded = dataclasses.replace(loaded, preprocessing=stretching(loaded.preprocessing))
    loaded.module.to(device)
    contenders = contenders_of(loaded, wanted, calibration)
    answerer = Answerer(source_of(model), loaded.core.revision, device=device, dtype=dtype)
    head = _head(loaded, contenders, examples, dtype)
    with _journal(report, head, resume, progress) as journal:
        seen = {one.name: one for one in (journal.done if journal is not None else ())}
        for done, example in enumerate(examples):
            progress("comparing", done, len(examples))
            if example.name not in seen:
                seen[example.name] = _look(contenders, example, loaded, answerer)
                if journal is not None:
                    journal.add([seen[example.name]])
        _time(contenders, examples, loaded, progress)
        entries = [Entry(name=one.name, keep=one.budget, seconds=tuple(one.seconds)) for one in contenders]
        result = compared(
            model=str(model),
            name=as_unicode(str(benchmark)),
            benchmark=data,
            examples=examples,
            seen=[seen[example.name] for example in examples],
            entries=entries,
        )
        result = dataclasses.replace(result, at_least=at_least)
        if report is not None and journal is not None:
            try:
                write_comparison(result, Path(report), loaded.core)
            except (ArtefactError, UnavailableError) as error:  # the result, which took so long, is shown anyway
                journal.keep = True
                note(f"the report was not written: {error}; --resume writes it without asking again")
    return result


def _head(
    model: LoadedModel, contenders: Sequence[Contender], examples: Sequence[Example], dtype: str
) -> dict[str, Any]:
    """What must be the same for work to be taken up again."""
    asked = [[example.name, [[q.kind, q.prompt, q.answer] for q in example.questions]] for example in examples]
    return {
        "model": model.core.weights_sha256,
        "questions": hashlib.sha256(json.dumps(asked).encode()).hexdigest(),
        "dtype": dtype,
        "methods": [[one.name, one.record.name, dict(one.record.settings)] for one in contenders],
    }


@contextlib.contextmanager
def _journal(
    report: str | Path | None, head: dict[str, Any], resume: bool, progress: Progress
) -> Iterator[Journal[Seen] | None]:
    """What is done so far, kept where there is a folder for it, until all is done."""
    if report is None:
        yield None
        return
    journal = Journal(Path(report) / JOURNAL, head, resume, Seen)
    finished = False
    try:
        yield journal
        finished = True
    finally:
        if journal.done and not finished:
            progress(f"{len(journal.done)} images are done; --resume goes on from there")
        journal.close(finished or not journal.done)


def _look(contenders: Sequence[Contender], example: Example, model: LoadedModel, answerer: LanguageModel) -> Seen:
    """What every method makes of one image."""
    photo = as_image(example.open(), example.name)
    pixels = pixel_values(photo, model.preprocessing)
    encoded: dict[frozenset[str], Tokens] = {}
    with naming(view_names(example.name, len(pixels))):
        views = complexities(contenders[0].session, pixels)
        outcomes = tuple(_ask(one, example, photo.size, pixels, answerer, encoded) for one in contenders)
    return Seen(
        name=example.name,
        erank=float(np.mean([view.erank for view in views])),
        attention_entropy=float(np.mean([view.attention_entropy for view in views])),
        outcomes=outcomes,
    )


def _ask(
    contender: Contender,
    example: Example,
    size: tuple[int, int],
    pixels: np.ndarray,
    model: LanguageModel,
    encoded: dict[frozenset[str], Tokens],
) -> Outcome:
    """One image's answers. `encoded` keeps the tower's work for the next method that needs the same signals."""
    session = contender.session
    needs = session.graph.pruner.method.needs | {"saliency"}
    if needs not in encoded:
        encoded[needs] = session.encode(pixels, needs)
    picture = contender.packer.pack(tuple(session.finish(encoded[needs])), size, example.name)
    replies = ask(model, [(example, picture)], within=contender.within)
    answers, visual = tuple(reply.answered.text for reply in replies), len(picture.tokens)
    if contender.within is not None:
        return Outcome(answers=answers, kept=contender.within.processed(visual, model.layers), erank=None, entropy=None)
    entropies = [entropy_among(encoded[needs], i, view.kept) for i, view in enumerate(picture.views)]
    return Outcome(
        answers=answers,
        kept=visual,
        erank=float(effective_rank(picture.tokens, center=False)),
        entropy=float(np.mean(entropies)),
    )


def _time(contenders: Sequence[Contender], examples: Sequence[Example], model: LoadedModel, progress: Progress) -> None:
    for done, example in enumerate(examples[: TIMED + 1]):
        progress("timing", done, TIMED + 1)
        pixels = pixel_values(example.open(), model.preprocessing)
        for contender in (one for one in contenders if one.within is None):
            began = time.perf_counter()
            contender.session(pixels)
            contender.seconds.append(time.perf_counter() - began)
