"""`vtp-export validate`: does the artefact do what the graph does, and the graph what the paper says?

Judged in this order: which tokens were kept, every difference to be explained by the measured rounding noise; values
on the tokens that both kept; erank and attention entropy. Two questions, kept apart: the eager graph against
`reference/`, and each format of the artefact against the eager graph.
"""

import contextlib
import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vtp_export.benchmarks._lookup import benchmark_of, examples_of
from vtp_export.benchmarks.base import Benchmark, Example
from vtp_export.errors import ArtefactError
from vtp_export.functional.devices import prepare
from vtp_export.graphs.assembly import assemble, load_model, name_of, needs_of, source_of
from vtp_export.graphs.eager import EagerSession
from vtp_export.graphs.pruned import PrunedFrontend
from vtp_export.integrations.transformers import Answerer
from vtp_export.parity.answers import AnswerComparison, LanguageModel, answers_of, compare_answers
from vtp_export.parity.gates import GATES
from vtp_export.parity.trial import Trial
from vtp_export.parity.verdict import Comparison, ValidationReport
from vtp_export.precision.twins import twin_of
from vtp_export.progress import Progress, silent
from vtp_export.reports.validation import write_validation
from vtp_export.runtime.artefact import Artefact, open_artefact
from vtp_export.runtime.changing import record_validation
from vtp_export.runtime.front_end import PrunedArtefact, load, options_of
from vtp_export.runtime.images import batched
from vtp_export.runtime.output import Run, naming
from vtp_export.runtime.preprocess import pixel_values
from vtp_export.runtime.writing import refuse_unwritable
from vtp_export.spec import Manifest, Scalar

NOISE_IMAGES = 4
"""Images run again in float64 to measure the noise."""

BATCH = 4
"""Images a run, where the artefact allows it: batches are what people serve."""


def validate(
    folder: str | Path,
    *,
    formats: Sequence[str] = (),
    benchmark: str | Path = "photos",
    limit: int | None = None,
    answers: bool = False,
    report: str | Path | None = None,
    device: str | None = None,
    threads: int | None = None,
    options: Mapping[str, Any] | None = None,
    reference: str | Path | None = None,
    reference_device: str = "cpu",
    dtype: str = "float32",
    progress: Progress = silent,
) -> ValidationReport:
    """Run the comparisons, and write what they measured into the artefact's manifest, if that can be written.

    Args:
        folder: the artefact.
        formats: of the artefact; none for all.
        benchmark: a name, or a folder of images.
        limit: number of images, or None for all.
        answers: also let the language model answer the benchmark's questions.
        report: folder of a page with the numbers and with overlays, or None.
        device: where the artefact runs, see `load`.
        threads: CPU threads of one run, or None for as many as the process may use.
        options: of the formats, see `load`; each is given to the formats that have it.
        reference: the model, where it is no longer where the manifest says.
        reference_device: where torch runs the graph, in float32, and the language model: "cpu" or "cuda".
        dtype: what the language model computes with.
        progress: hears of every step.

    Raises:
        VtpError: the artefact, the model or the benchmark cannot be used.
    """
    prepare(reference_device, threads)
    artefact = open_artefact(folder)
    manifest = artefact.manifest
    if report is not None:
        refuse_unwritable(Path(report))
    examples = examples_of(benchmark, limit)
    name, revision = (manifest.model.id, manifest.model.revision) if reference is None else (name_of(reference), None)
    progress("loading the reference model")
    eager = EagerSession(_graph(manifest, name, revision), reference_device)
    progress("measuring the rounding noise")
    trial = _trial(manifest, eager, examples)
    with contextlib.ExitStack() as stack:
        own = options_of(formats or manifest.formats(), options)
        sessions = {
            fmt: stack.enter_context(load(folder, fmt, device=device, threads=threads, options=own[fmt])) for fmt in own
        }
        artefact.refuse_replaced(*manifest.builds)  # each format was opened by itself
        _judge_examples(trial, manifest, examples, sessions, device, progress)
        replies: tuple[AnswerComparison, ...] = ()
        if answers:
            progress("loading the language model")
            model = Answerer(source_of(name), revision, device=reference_device, dtype=dtype)
            runs: dict[str, Run] = {"graph": eager, **{fmt: session.run_padded for fmt, session in sessions.items()}}
            replies = _answers(model, benchmark_of(benchmark), examples, runs, manifest, progress)
        result = ValidationReport(
            artefact=str(folder), benchmark=str(benchmark), comparisons=tuple(trial.done()), answers=replies
        )
        notes = _record(artefact, result, {fmt: session.device for fmt, session in sessions.items()})
        result = dataclasses.replace(result, notes=notes)
        if report is not None:
            write_validation(result, next(iter(sessions.values())), examples, Path(report), progress)
    return result


def _graph(manifest: Manifest, name: str, revision: str | None) -> PrunedFrontend:
    """The eager graph of the very weights that were exported."""
    record = manifest.model
    needs = needs_of(manifest.pruner.name, manifest.pruner.settings)
    model = load_model(name, needs, revision)
    now = model.record(needs)
    if now.weights_sha256 != record.weights_sha256:
        raise ArtefactError(
            f"the artefact was made from other weights (SHA-256 {record.weights_sha256[:12]}...) than "
            f"'{now.id}' has now ({now.weights_sha256[:12]}...); name the right one with --reference"
        )
    return assemble(model, manifest.pruner.name, manifest.pruner.settings).graph


def _trial(manifest: Manifest, eager: EagerSession, examples: Sequence[Example]) -> Trial:
    first = pixel_values((example.open() for example in examples[:NOISE_IMAGES]), manifest.preprocessing)
    narrow = manifest.precision.name != "fp32"
    twin = twin_of(eager.graph, manifest.precision, manifest.preprocessing) if narrow else None
    twin_session = None if twin is None else EagerSession(twin, eager.device)
    return Trial(eager, manifest.pruner, manifest.precision.name, twin_session, first)


def _judge_examples(
    trial: Trial,
    manifest: Manifest,
    examples: Sequence[Example],
    sessions: Mapping[str, PrunedArtefact],
    device: str | None,
    progress: Progress,
) -> None:
    where = "" if device in (None, "cpu") else f" on {device}"
    done = 0
    for batch in batched(examples, max(manifest.batch.min, min(BATCH, manifest.batch.max))):
        progress("comparing", done, len(examples))
        pixels = pixel_values((example.open() for example in batch), manifest.preprocessing)
        with naming([example.name for example in batch]):
            outputs = {fmt + where: session.run_padded(pixels) for fmt, session in sessions.items()}
        trial.add([example.name for example in batch], pixels, outputs)
        done += len(batch)


def _answers(
    model: LanguageModel,
    benchmark: Benchmark,
    examples: Sequence[Example],
    runs: Mapping[str, Run],
    manifest: Manifest,
    progress: Progress,
) -> tuple[AnswerComparison, ...]:
    """Of each format against those of the graph, which is the first of `runs`."""
    replies = {name: answers_of(model, examples, run, manifest.preprocessing, progress) for name, run in runs.items()}
    first, *formats = replies
    asked = GATES[manifest.precision.name].answers
    return tuple(
        compare_answers(f"answers of {fmt}", benchmark, replies[first], replies[fmt], asked) for fmt in formats
    )


def _record(artefact: Artefact, report: ValidationReport, devices: Mapping[str, str]) -> tuple[str, ...]:
    """Write the few numbers of every format into the manifest, or say why that cannot be done."""
    against_reference, *comparisons = report.comparisons
    for i, ((fmt, device), comparison) in enumerate(zip(devices.items(), comparisons, strict=True)):
        values = {
            **_recorded(comparison, report.benchmark, against_reference),
            "device": device,
            **(_answers_recorded(report.answers[i]) if report.answers else {}),
        }
        try:
            record_validation(artefact, fmt, values)
        except ArtefactError as error:  # on a read-only medium, or of an artefact that is there no more
            return (f"the result was not recorded in the manifest: {error}",)
    return ()


def _recorded(comparison: Comparison, benchmark: str, against_reference: Comparison) -> dict[str, Scalar]:
    """The few numbers of a comparison that go into the manifest."""
    values = comparison.values
    numbers = {
        "jaccard_mean": comparison.jaccard_mean,
        "cosine_min": None if values is None else values.cosine_min,
        "relative_error": None if values is None else values.relative_error,
        "erank_error": comparison.erank_error,
        "attention_entropy_error": comparison.attention_entropy_error,
    }
    return {
        "benchmark": benchmark,
        "images": comparison.images,
        "passed": comparison.passed and against_reference.passed,
        "same_tokens_kept": comparison.identical,
        "differences_explained": sum(d.witness is not None for d in comparison.differences),
        "differences_unexplained": sum(d.witness is None for d in comparison.differences),
        # JSON has no NaN and no infinity.
        **{name: v if v is None or math.isfinite(v) else str(v) for name, v in numbers.items()},
    }


def _answers_recorded(answers: AnswerComparison) -> dict[str, Scalar]:
    return {
        "questions": answers.questions,
        "answers_identical": answers.identical,
        "answers_metric": answers.metric,
        "answers_graph": answers.expected,
        "answers_found": answers.found,
        "answers_p_value": answers.p_value,
        "answers_passed": answers.passed,
    }
