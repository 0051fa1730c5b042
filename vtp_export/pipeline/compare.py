"""`vtp-export compare`: methods and budgets side by side on benchmarks, by what the language model then answers."""

import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from vtp_export.arguments import by_name, one_or_several, path_of, whole
from vtp_export.comparing.contenders import Contender, contenders_of, settle, signals_of, wanted_of
from vtp_export.comparing.costing import costs_of
from vtp_export.comparing.looking import Asker
from vtp_export.comparing.losses import losses_of
from vtp_export.comparing.published import Plan, PublishedTable, plan_of, published_table
from vtp_export.comparing.subjects import Asked, Subject, asked_about, subjects_of
from vtp_export.errors import ArtefactError, SpecError, UnavailableError
from vtp_export.functional.devices import prepare
from vtp_export.graphs.assembly import load_model, source_of
from vtp_export.integrations.prompts import TEMPLATE
from vtp_export.integrations.transformers import Answerer
from vtp_export.models._sizes import asked_size
from vtp_export.models.base import LoadedModel
from vtp_export.parity.answer_store import AnswerStore, code_digest
from vtp_export.parity.asking import BATCH
from vtp_export.precision.lowering import loaded_in
from vtp_export.progress import Progress, silent
from vtp_export.reports.answer_lines import answer_lines, write_answers
from vtp_export.reports.compared import CompareReport
from vtp_export.reports.comparison import write_comparison
from vtp_export.reports.costs import Cost
from vtp_export.reports.losses import Loss
from vtp_export.reports.page import report_folder
from vtp_export.reports.standings import Column, standings
from vtp_export.reports.tally import Entry, answered
from vtp_export.runtime.images import note
from vtp_export.runtime.resolution import stretching
from vtp_export.runtime.writing import refuse_unwritable
from vtp_export.spec import ModelRecord

PRUNERS = ("fastervlm", "adaptive")
KEPT = "answers"
"""Folder of the answers in that of the report, where no other is named."""


def compare(
    model: str | Path,
    keep: int | str | Sequence[int | str] = (),
    *,
    benchmark: str | Path | Sequence[str | Path] = (),
    pruners: Sequence[str] = (),
    settings: Mapping[str, Any] | None = None,
    table: int | None = None,
    limit: int | None = None,
    swap: bool = False,
    batch: int = BATCH,
    prompt: str | None = None,
    calibration: str | Path | None = None,
    revision: str | None = None,
    grid: str | tuple[int, int] | None = None,
    image_size: str | tuple[int, int] | None = None,
    max_tokens: int | None = None,
    at_least: float | None = None,
    report: str | Path | None = None,
    cache: str | Path | None = None,
    device: str = "cpu",
    dtype: str = "float32",
    threads: int | None = None,
    progress: Progress = silent,
) -> CompareReport:
    """Run every method, with every combination of settings, at every budget on every image.

    Args:
        model: folder, hub id or embedded name.
        keep: one budget of visual tokens, or several; a text such as "10%" is a share of them.
        benchmark: one with questions, or several; none for `shapes`.
        pruners: methods, of the front end or inside the language model; none for `PRUNERS`. `none` is always there.
        settings: by name, a value or a list of those to try; each is for the pruners that have it.
        table: of AgilePruner's paper: its benchmarks, methods and budgets, or those of them that are named.
        limit: number of images of each benchmark, or None for all.
        swap: also ask the same questions about other images.
        batch: so many questions are answered together at most.
        prompt: how questions are worded, one of `integrations.prompts.FORMS`; None for the checkpoint's template, or
            what the table was measured with.
        calibration: see `export`.
        revision: commit, branch or tag on the hub.
        grid: of a model of any resolution, what it is measured at: rows and columns of tokens, see `export`.
        image_size: the same by pictures.
        max_tokens: of such a model, most tokens of a picture.
        at_least: share of the unpruned score that every method must keep, 0 to 1; None asks nothing.
        report: folder of a page with figures, and of every answer; or None.
        cache: folder where answers are kept, and never asked for twice; None for `answers` in that of the report.
        device: where torch runs all of it: "cpu" or "cuda".
        dtype: what the tower, the projector and the language model compute with; selection is float32 at least.
        threads: CPU threads, or None for torch's choice.
        progress: hears of every step.

    Raises:
        VtpError: the model, a method or a benchmark cannot be used.
    """
    asked = None if table is None else published_table(table)
    if asked is not None and (grid, image_size, max_tokens) == (None, None, None):
        grid = asked.grid
    size = asked_size(grid, image_size, max_tokens)
    names, keeps = one_or_several(benchmark), one_or_several(keep)
    plan = _plan(asked, keeps, names, one_or_several(pruners), by_name("settings", settings))
    whole("batch", batch, 1)
    if at_least is not None and not 0 <= at_least <= 1:
        raise SpecError(f"the least share of the unpruned score is {at_least:g}; it must be 0 to 1 (100%)")
    place = _folder(report, cache)
    prepare(device, threads)
    read = [column.benchmark for column in plan.columns] if asked else names or ("shapes",)
    subjects = subjects_of(read, limit, swap)
    progress("loading the model")
    loaded = loaded_in(load_model(model, signals_of(plan.wanted), revision, size), dtype)
    loaded = dataclasses.replace(loaded, preprocessing=stretching(loaded.preprocessing))
    loaded.module.to(device)
    contenders = contenders_of(loaded, plan.wanted, calibration)
    form = prompt or (asked.form if asked else TEMPLATE)
    answerer = Answerer(source_of(model), loaded.core.revision, device=device, dtype=dtype, form=form)
    settle(contenders, answerer)
    head = _head(loaded, answerer) if place is not None else {}
    stores = [AnswerStore(place, {**head, "method": _named(one)}) for one in contenders]
    asker = Asker(model=loaded, answerer=answerer, contenders=contenders, stores=stores, batch=batch)
    with _going_on(place, progress):
        found = [asked_about(subject, asker, swap, progress) for subject in subjects]
    result = _result(str(model), found, contenders, _columns(plan, subjects), plan)
    costs = _costs(contenders, found[0], loaded, answerer, progress)
    result = dataclasses.replace(result, at_least=at_least, costs=costs)
    if report is not None:
        losses = [losses_of(one, asker, progress) for one in found]
        _write(result, found, losses, loaded.core, Path(report))
    return result


def _plan(
    table: PublishedTable | None,
    keeps: Sequence[int | str],
    benchmarks: Sequence[str | Path],
    pruners: Sequence[str],
    settings: Mapping[str, Any],
) -> Plan:
    """What is to be run; the columns of a table are known, those of other benchmarks not yet."""
    if table is None:
        if not keeps:
            raise SpecError("no budget was named; give at least one --keep, or a --table")
        wanted = wanted_of(pruners or PRUNERS, settings, keeps)
        return Plan(columns=(), wanted=tuple(wanted), printed=(), notes=())
    if settings:
        raise SpecError(f"table {table.number} has settings of its own; leave out --set, or name methods by --pruner")
    return plan_of(table, [str(name) for name in benchmarks], pruners, keeps)


def _columns(plan: Plan, subjects: Sequence[Subject]) -> tuple[Column, ...]:
    if plan.columns:
        return plan.columns
    told = [(subject.name, subject.data.printed) for subject in subjects]
    return tuple(Column(name=name, benchmark=name, metric=one.metric, unit=one.unit) for name, one in told)


def _folder(report: str | Path | None, cache: str | Path | None) -> Path | None:
    """Where answers are kept, seen to be writable before anything is done."""
    folder = report_folder(report)
    if cache is not None:
        refuse_unwritable(path_of("the cache", cache))
        return Path(cache)
    return None if folder is None else folder / KEPT


def _head(model: LoadedModel, answerer: Answerer) -> dict[str, Any]:
    """What decides the answers of every method."""
    seen = json.dumps(dataclasses.asdict(model.preprocessing), sort_keys=True, default=str)
    return {
        "code": code_digest(),
        "front end": model.core.weights_sha256,
        "preprocessing": hashlib.sha256(seen.encode()).hexdigest(),
        **answerer.identity(),
    }


def _named(contender: Contender) -> list[Any]:
    return [contender.record.name, contender.budget, dict(contender.record.settings)]


@contextlib.contextmanager
def _going_on(place: Path | None, progress: Progress) -> Iterator[None]:
    """Say, of work that is interrupted, that it goes on."""
    try:
        yield
    except BaseException:
        if place is not None:
            progress(f"the answers so far are kept in '{place}'; the same command goes on from there")
        raise


def _result(
    model: str, found: Sequence[Asked], contenders: Sequence[Contender], columns: Sequence[Column], plan: Plan
) -> CompareReport:
    entries = [Entry(name=one.name, keep=one.budget) for one in contenders]
    reports = tuple(one.report(entries) for one in found)
    return CompareReport(
        model=model,
        benchmarks=reports,
        columns=tuple(column.name for column in columns),
        standings=standings(reports, columns, plan.printed),
        notes=plan.notes,
    )


def _costs(
    contenders: Sequence[Contender], asked: Asked, model: LoadedModel, answerer: Answerer, progress: Progress
) -> tuple[Cost, ...]:
    """On the images of the first benchmark; none, and a note, where the language model is of another kind."""
    try:
        return costs_of(contenders, asked.examples, model, answerer, progress)
    except SpecError as error:
        note(f"no costs are told: {error}")
        return ()


def _write(
    result: CompareReport,
    found: Sequence[Asked],
    losses: Sequence[Sequence[Loss]],
    model: ModelRecord,
    folder: Path,
) -> None:
    """The page and the answers; where they cannot be written the result, which took so long, is shown anyway."""
    labels = [f"{row.method}@{row.keep}" if number else row.method for number, row in enumerate(result.standings)]
    try:
        write_answers(
            folder,
            (
                line
                for one in found
                for line in answer_lines(
                    one.subject.name,
                    one.subject.data,
                    {
                        label: answered(one.examples, [seen.outcomes[i] for seen in one.seen])
                        for i, label in enumerate(labels)
                    },
                )
            ),
        )
        write_comparison(result, losses, folder, model)
    except (ArtefactError, UnavailableError) as error:
        note(f"the report was not written: {error}; the same command writes it without asking again")
