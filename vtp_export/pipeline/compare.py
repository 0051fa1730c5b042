"""`vtp-export compare`: methods and budgets side by side on one benchmark, by what the language model then answers."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vtp_export.benchmarks._lookup import benchmark_of
from vtp_export.benchmarks.base import Answered, Benchmark, Example
from vtp_export.errors import SpecError
from vtp_export.functional.devices import prepare
from vtp_export.functional.tokens import Tokens
from vtp_export.graphs.assembly import assemble, calibration_for, load_model, needs_of, source_of
from vtp_export.graphs.complexity import SIGNALS, Complexity, complexities, entropy_among
from vtp_export.graphs.eager import EagerSession
from vtp_export.integrations.transformers import Answerer
from vtp_export.models.base import LoadedModel
from vtp_export.parity.answers import LanguageModel, ask, refuse_silent
from vtp_export.precision.lowering import loaded_in
from vtp_export.progress import Progress, silent
from vtp_export.pruners._choice import choices
from vtp_export.reference.erank import effective_rank
from vtp_export.reports.comparison import CompareReport, Row, write_comparison
from vtp_export.runtime.images import note
from vtp_export.runtime.output import naming
from vtp_export.runtime.preprocess import pixel_values
from vtp_export.runtime.writing import refuse_unwritable

TIMED = 8
"""Images that every method is timed on, one call of each in turn."""

BINS = 4
"""Quarters of the images, by effective rank."""


@dataclass(kw_only=True)
class _Contender:
    """One method at one budget, while the images go by."""

    name: str
    budget: int
    session: EagerSession
    asked: list[Answered] = field(default_factory=list)
    erank: list[float] = field(default_factory=list)
    entropy: list[float] = field(default_factory=list)
    kept: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


def compare(
    model: str | Path,
    keep: int | Sequence[int],
    *,
    benchmark: str | Path = "shapes",
    pruners: Sequence[str] = ("fastervlm", "adaptive"),
    settings: Mapping[str, Any] | None = None,
    limit: int | None = None,
    calibration: str | Path | None = None,
    revision: str | None = None,
    report: str | Path | None = None,
    device: str = "cpu",
    dtype: str = "float32",
    threads: int | None = None,
    progress: Progress = silent,
) -> CompareReport:
    """Run every method, with every combination of settings, at every budget on every image.

    Args:
        model: folder, hub id or embedded name.
        keep: one budget of visual tokens, or several.
        benchmark: one with questions.
        pruners: methods; `none` is always there.
        settings: by name, a value or a list of those to try; each is for the pruners that have it.
        limit: number of images, or None for all.
        calibration: see `export`.
        revision: commit, branch or tag on the hub.
        report: folder of a page with figures, or None.
        device: where torch runs all of it: "cpu" or "cuda".
        dtype: what the tower, the projector and the language model compute with; selection is float32 at least.
        threads: CPU threads, or None for torch's choice.
        progress: hears of every step.

    Raises:
        VtpError: the model, a method or the benchmark cannot be used.
    """
    keeps = (keep,) if isinstance(keep, int) else tuple(keep)
    if not keeps:
        raise SpecError("no budget was named; give at least one --keep")
    if report is not None:
        refuse_unwritable(Path(report))
    prepare(device, threads)
    data = benchmark_of(benchmark)
    examples = list(data.examples(limit))
    refuse_silent(examples)
    progress("loading the model")
    wanted = _wanted(pruners, settings or {}, keeps)
    needs = SIGNALS.union(*(needs_of(pruner, chosen) for _, pruner, chosen in wanted))
    loaded = loaded_in(load_model(model, needs, revision), dtype)
    loaded.module.to(device)
    contenders = _contenders(loaded, wanted, None if calibration is None else Path(calibration))
    answerer = Answerer(source_of(model), loaded.core.revision, device=device, dtype=dtype)
    complexity: list[Complexity] = []
    for done, example in enumerate(examples):
        progress("comparing", done, len(examples))
        pixels = pixel_values(example.open(), loaded.preprocessing)
        encoded: dict[frozenset[str], Tokens] = {}
        with naming([example.name]):
            complexity += complexities(contenders[0].session, pixels)
            for contender in contenders:
                _ask(contender, example, pixels, answerer, encoded)
    _time(contenders, examples, loaded, progress)
    measured = np.array([(one.erank, one.attention_entropy) for one in complexity])
    result = _report((str(model), str(benchmark)), data, examples, contenders, measured)
    if report is not None:
        write_comparison(result, Path(report))
    return result


def _wanted(
    pruners: Sequence[str], settings: Mapping[str, Any], keeps: Sequence[int]
) -> list[tuple[str, str, dict[str, object]]]:
    """Label, pruner and settings of every contender; the first keeps all."""
    wanted: list[tuple[str, str, dict[str, object]]] = [("none", "none", {})]
    for one in choices([name for name in pruners if name != "none"], settings):
        wanted += [(one.label, one.pruner, {**one.settings, "keep": keep}) for keep in keeps]
    return wanted


def _contenders(
    model: LoadedModel, wanted: Sequence[tuple[str, str, dict[str, object]]], calibration: Path | None
) -> list[_Contender]:
    contenders = []
    device = next(model.module.parameters()).device.type
    for label, pruner, settings in wanted:
        record, remarks = calibration_for(model, calibration, pruner, settings)
        assembly = assemble(model, pruner, settings, record)
        for sentence in (*remarks, *assembly.notes):
            note(sentence)
        session = EagerSession(assembly.graph.to(device), device)
        budget = assembly.layout.keep or assembly.layout.slots
        contenders.append(_Contender(name=label, budget=budget, session=session))
    return contenders


def _ask(
    contender: _Contender,
    example: Example,
    pixels: np.ndarray,
    model: LanguageModel,
    encoded: dict[frozenset[str], Tokens],
) -> None:
    """Add one image's answers. `encoded` keeps the tower's work for the next method that needs the same signals."""
    session = contender.session
    needs = session.graph.pruner.method.needs | {"saliency"}
    if needs not in encoded:
        encoded[needs] = session.encode(pixels, needs)
    result = session.finish(encoded[needs])[0]
    contender.asked += [reply.answered for reply in ask(model, example, result.tokens)]
    contender.kept.append(result.num_kept)
    contender.erank.append(effective_rank(result.tokens, center=False))
    contender.entropy.append(entropy_among(encoded[needs], result.kept))


def _time(
    contenders: Sequence[_Contender], examples: Sequence[Example], model: LoadedModel, progress: Progress
) -> None:
    for done, example in enumerate(examples[: TIMED + 1]):
        progress("timing", done, TIMED + 1)
        pixels = pixel_values(example.open(), model.preprocessing)
        for contender in contenders:
            began = time.perf_counter()
            contender.session(pixels)
            contender.seconds.append(time.perf_counter() - began)


def _report(
    names: tuple[str, str],
    benchmark: Benchmark,
    examples: Sequence[Example],
    contenders: Sequence[_Contender],
    complexity: np.ndarray,
) -> CompareReport:
    edges = np.quantile(complexity[:, 0], np.linspace(0, 1, BINS + 1))
    place = np.clip(np.searchsorted(edges, complexity[:, 0], side="right") - 1, 0, BINS - 1)
    bins = {example.name: int(number) for example, number in zip(examples, place, strict=True)}
    scores = [benchmark.score(contender.asked) for contender in contenders]
    metric = next(iter(scores[0]))
    full = scores[0][metric]
    rows = tuple(
        _row(contender, metrics, metric, full, _by_bin(benchmark, contender, metric, bins))
        for contender, metrics in zip(contenders, scores, strict=True)
    )
    varied = len(examples) > 1 and bool(np.ptp(complexity, axis=0).all())
    together = float(np.corrcoef(complexity.T)[0, 1]) if varied else 0.0
    return CompareReport(
        model=names[0],
        benchmark=names[1],
        images=len(examples),
        questions=len(contenders[0].asked),
        metric=metric,
        rows=rows,
        edges=tuple(float(edge) for edge in edges),
        correlation=together,
    )


def _by_bin(benchmark: Benchmark, contender: _Contender, metric: str, bins: Mapping[str, int]) -> tuple[float, ...]:
    found = []
    for number in range(BINS):
        mine = [answered for answered in contender.asked if bins[answered.image] == number]
        found.append(benchmark.score(mine).get(metric, float("nan")) if mine else float("nan"))
    return tuple(found)


def _row(contender: _Contender, metrics: dict[str, float], metric: str, full: float, by_bin: tuple[float, ...]) -> Row:
    return Row(
        method=contender.name,
        keep=contender.budget,
        kept=float(np.mean(contender.kept)),
        score=metrics[metric],
        share=metrics[metric] / full if full else 0.0,
        metrics=metrics,
        erank=float(np.mean(contender.erank)),
        entropy=float(np.mean(contender.entropy)),
        milliseconds=float(np.median(contender.seconds[1:] or contender.seconds)) * 1e3,
        by_bin=by_bin,
    )
